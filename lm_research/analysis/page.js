(() => {
  "use strict";
  const plots = [...document.querySelectorAll(".plot")].map((place) => ({
    place,
    figure: JSON.parse(document.getElementById(place.dataset.figure).textContent),
  }));
  const settings = { responsive: true, displayModeBar: false, displaylogo: false };

  // Ink and grid follow the page, whose colours follow the reader's theme.
  function themed(layout) {
    const style = getComputedStyle(document.documentElement);
    const colour = (name) => style.getPropertyValue(name).trim();
    const copy = structuredClone(layout);
    copy.font = { ...copy.font, color: colour("--ink") };
    copy.hoverlabel = {
      ...copy.hoverlabel, bgcolor: colour("--card"), bordercolor: colour("--line"),
      font: { ...(copy.hoverlabel || {}).font, color: colour("--ink") },
    };
    for (const key of Object.keys(copy).filter((name) => /^[xy]axis\d*$/.test(name))) {
      copy[key] = { ...copy[key], gridcolor: colour("--grid"), linecolor: colour("--grid") };
    }
    for (const note of copy.annotations || []) if (note.bgcolor) note.bgcolor = colour("--page");
    for (const shape of copy.shapes || []) shape.line = { ...shape.line, color: colour("--muted") };
    return copy;
  }

  function draw() {
    for (const { place, figure } of plots) {
      Plotly.react(place, structuredClone(figure.data), themed(figure.layout), settings);
    }
  }

  draw();
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
})();
