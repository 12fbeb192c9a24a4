"use strict";
// All text from the run or the server goes in as text, never as markup.

let about = {};
const make = (tag, name, text) => {
  const element = document.createElement(tag);
  if (name) element.className = name;
  if (text !== undefined) element.textContent = text;
  return element;
};
const small = (number, digits) => (number === null ? "undefined" : number.toFixed(digits));

// --- what the form says

function fields(form) {
  const values = {};
  for (const input of form.elements) {
    if (!input.name) continue;
    if (input.type !== "number") values[input.name] = input.value;
    else if (input.value !== "") values[input.name] = Number(input.value);
  }
  return values;
}

async function ask(way, values) {
  const answer = await fetch(`/api/${way}`, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(values),
  });
  const found = await answer.json();
  if (!answer.ok) throw new Error(found.error.message);
  return found;
}

// --- what the run says

const reasons = { text: "the document ended", length: "the length was reached", time: "time was up" };

function generated(found, values) {
  const shown = make("pre");
  shown.append(make("span", "prompt", values.text), make("span", "", found.continuation));
  const note = `${found.tokens} tokens in ${small(found.seconds, 2)} s; ${reasons[found.ended_by]}`;
  return [shown, make("p", "notes", note)];
}

const colour = (bits) => `rgba(213, 94, 0, ${(0.6 * Math.min(Math.max(bits, 0) / 14, 1)).toFixed(3)})`;

function surprised(found) {
  const shown = make("div", about.spaced ? "tokens spaced" : "tokens");
  found.tokens.forEach((row, place) => {
    const last = place === found.tokens.length - 1;
    const text = last ? " end" : row.token.replaceAll("\u2423", " ").replaceAll("\\n", "↵\n");
    const span = make("span", last ? "end" : "token", text);
    span.style.backgroundColor = colour(row.bits);
    span.title = `${row.token}: ${small(row.bits, 2)} bits, ${small(row.nats, 2)} nats`;
    shown.append(span);
  });
  const scale = make("div", "scale", "bits: ");
  for (const bits of [0, 2, 5, 8, 11, 14]) {
    const step = make("span", "", bits === 14 ? "14 +" : String(bits));
    step.style.backgroundColor = colour(bits);
    scale.append(step);
  }
  const facts = [
    `${found.tokens.length} tokens with the end`,
    `${small(found.nats, 2)} nats`,
    `perplexity ${small(found.perplexity_token, 2)} a token`,
    `${small(found.bits_per_byte, 4)} bits per byte`,
  ];
  if (found.spelling_nats) facts.push(`${small(found.spelling_nats, 2)} nats to spell unknown pieces`);
  return [shown, scale, make("p", "notes", facts.join(" · "))];
}

function classified(found) {
  const shown = make("div", "classes");
  const several = Array.isArray(found.predicted);
  found.classes.forEach((row, place) => {
    const chosen = several ? found.predicted.includes(row.class) : place === 0;
    const track = make("div", "track");
    const bar = make("div", "bar");
    bar.style.width = `${100 * row.p}%`;
    track.append(bar);
    const name = make("span", chosen ? "name first" : "name", row.class);
    shown.append(name, track, make("span", "number", small(row.p, 4)));
  });
  return [shown, make("p", "notes", `${found.tokens} tokens in ${small(found.seconds, 2)} s`)];
}

function tagged(found) {
  const shown = make("div", "tagged");
  found.words.forEach((word, place) => {
    const pair = make("span", "pair");
    pair.append(make("span", "word", word), make("span", "tag", found.tags[place]));
    shown.append(pair);
  });
  const note = `${found.words.length} words, ${found.tokens} tokens in ${small(found.seconds, 2)} s`;
  return [shown, make("p", "notes", note)];
}

function written(found) {
  const nodes = found.texts.flatMap((row) => {
    const pre = make("pre", "", row.text || "(nothing)");
    return found.texts.length > 1 ? [pre, make("p", "notes", `score ${small(row.score, 3)}`)] : [pre];
  });
  const cut = found.read < found.tokens ? `, of which the first ${found.read} were read` : "";
  const note = `${found.tokens} source tokens${cut}, in ${small(found.seconds, 2)} s`;
  return [...nodes, make("p", "notes", note)];
}

const show = {
  generate: generated,
  surprise: surprised,
  classify: classified,
  tag: tagged,
  write: written,
};

// --- the page

function listen(section) {
  const way = section.dataset.way;
  const form = section.querySelector("form");
  const button = section.querySelector("button");
  const result = section.querySelector(".result");
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const values = fields(form);
    button.disabled = true;
    try {
      result.replaceChildren(...show[way](await ask(way, values), values));
    } catch (error) {
      const gone = error instanceof TypeError ? "the server does not answer" : error.message;
      const told = make("p", "error", gone);
      told.setAttribute("role", "alert");
      result.replaceChildren(told);
    } finally {
      button.disabled = false;
    }
  });
  form.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey) && !button.disabled) {
      form.requestSubmit();
    }
  });
}

async function begin() {
  about = await (await fetch("/api")).json();
  document.title = `${about.run} · lm-research serve`;
  document.getElementById("run").textContent = about.run;
  const facts = Object.entries(about.facts).map(([name, value]) => `${name} ${value}`);
  document.getElementById("facts").textContent = facts.join(" · ");
  for (const section of document.querySelectorAll("section[data-way]")) {
    for (const area of section.querySelectorAll("textarea")) area.maxLength = about.most_characters;
    section.hidden = !about.ways.includes(section.dataset.way);
    listen(section);
  }
}

begin();
