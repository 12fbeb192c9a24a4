"""The help of ``train`` names what Hydra would find, and is quick."""

import subprocess
import sys

from lm_research.cli.train_help import defaults, options
from lm_research.config.compose import compose, loader, register_studies


def test_groups_and_options_are_those_of_hydra():
    register_studies()
    with loader() as hydra:
        groups = [group for group in hydra.list_groups("") if group not in ("hydra", "local")]
        found = {group: set(hydra.get_group_options(group)) for group in groups}
    assert options() == found


def test_defaults_are_those_of_hydra():
    found = compose([]).hydra.runtime.choices
    chosen = defaults()
    assert {group: chosen.get(group) for group in options()} == {
        group: found.get(group) for group in options()
    }


def test_nothing_heavy_is_imported():
    code = (
        "import sys; from lm_research.cli.main import main\n"
        "try: main(['train', 'model=gru', '--help'])\n"
        "except SystemExit: pass\n"
        "assert not {'torch', 'hydra', 'numpy', 'omegaconf'} & set(sys.modules), sys.modules"
    )
    told = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert "  vectorizer    embedding, bag_of_words" in told.stdout
