"""What a study from a stranger cannot make Hydra run."""

import subprocess
import sys

import pytest

from lm_research.config.compose import compose

LOGGING = "hydra.job_logging.handlers"


@pytest.mark.parametrize(
    ("study", "fields"),
    [
        (
            "hydra: {job_logging: {handlers: {x: {(): os.mkdir, path: made}}}}",
            {f"{LOGGING}.x.()": "os.mkdir"},
        ),
        (
            "hydra: {hydra_logging: {formatters: {x: {(): os.mkdir, path: made}}}}",
            {"hydra.hydra_logging.formatters.x.()": "os.mkdir"},
        ),
        (
            "hydra: {job_logging: {formatters: {x: {class: lm_research.config.build.os.mkdir}}}}",
            {"hydra.job_logging.formatters.x.class": "lm_research.config.build.os.mkdir"},
        ),
        (
            "hydra: {job_logging: {handlers: {file: {class: logging.os.system}}}}",
            {f"{LOGGING}.file.class": "logging.os.system"},
        ),
        (
            "hydra: {job_logging: {handlers: {console: {stream: 'ext://os.environ'}}}}",
            {f"{LOGGING}.console.stream": "ext://os.environ"},
        ),
        (
            "hydra: {job_logging: {handlers: {file: {class: '${oc.env:NOT_THERE_YET}'}}}}",
            {f"{LOGGING}.file.class": "${oc.env:NOT_THERE_YET}"},
        ),
        (
            "hydra: {job_logging: {filters: {x: {names: [{(): os.mkdir}]}}}}",
            {"hydra.job_logging.filters.x.names.0.()": "os.mkdir"},
        ),
        (
            "hydra: {callbacks: {x: {_target_: subprocess.Popen, args: [mkdir, made]}}}",
            {"hydra.callbacks.x._target_": "subprocess.Popen"},
        ),
        (
            "hydra: {callbacks: {x: {_target_: hydra.experimental.callbacks.logging.os.mkdir}}}",
            {"hydra.callbacks.x._target_": "hydra.experimental.callbacks.logging.os.mkdir"},
        ),
        (
            "hydra: {callbacks: {x: {_target_: hydra.experimental.callbacks.LogJobReturnCallback, "
            "y: [{_target_: lm_research.config.build.os.mkdir}]}}}",
            {"hydra.callbacks.x.y.0._target_": "lm_research.config.build.os.mkdir"},
        ),
        (
            "hydra: {job_logging: {handlers: {file: {filename: /tmp/x.log}}}}",
            {f"{LOGGING}.file.filename": "/tmp/x.log"},
        ),
        (
            "hydra: {job_logging: {handlers: {file: "
            "{filename: '${hydra.runtime.output_dir}/../x.log'}}}}",
            {f"{LOGGING}.file.filename": "${hydra.runtime.output_dir}/../x.log"},
        ),
        (
            "hydra: {job_logging: {handlers: {file: "
            "{filename: '${hydra.runtime.output_dir}/metrics.jsonl'}}}}",
            {f"{LOGGING}.file.filename": "${hydra.runtime.output_dir}/metrics.jsonl"},
        ),
        (
            "hydra: {output_subdir: ../../x, job: {name: ../x}, sweep: {subdir: a/../../x}}",
            {
                "hydra.output_subdir": "../../x",
                "hydra.job.name": "../x",
                "hydra.sweep.subdir": "a/../../x",
            },
        ),
        (
            "defaults: [override /hydra/launcher: submitit_slurm]\n"
            "hydra: {launcher: {setup: [mkdir made], additional_parameters: {wrap: mkdir made}}}",
            {"hydra.launcher.setup": None, "hydra.launcher.additional_parameters": None},
        ),
        (
            "hydra: {job: {env_set: {WANDB_BASE_URL: 'http://x', TRITON_PTXAS_PATH: x, CC: x}}}",
            {
                "hydra.job.env_set.WANDB_BASE_URL": None,
                "hydra.job.env_set.TRITON_PTXAS_PATH": None,
                "hydra.job.env_set.CC": None,
            },
        ),
        (
            "hydra: {job: {env_set: {LM_RESEARCH_ALLOW: os, PYTHONPATH: x, OMP_NUM_THREADS: '1'}}}",
            {"hydra.job.env_set.LM_RESEARCH_ALLOW": None, "hydra.job.env_set.PYTHONPATH": None},
        ),
    ],
)
def test_code_that_a_study_names(write, problems, study, fields):
    file = write("sweeps/stranger.yaml", f"{study}\n")
    found = problems("sweep=stranger")
    assert {field: problem.value for field, problem in found.items()} == fields
    assert {problem.file for problem in found.values()} == {str(file)}


def test_a_node_that_the_logging_points_to(write, problems):
    node = "{handlers: {x: {(): os.mkdir}}}"
    write("sweeps/stranger.yaml", f"tracking: {node}\nhydra: {{job_logging: '${{tracking}}'}}\n")
    assert f"{LOGGING}.x.()" in problems("sweep=stranger")


@pytest.mark.parametrize(
    "override",
    [
        "hydra/job_logging=stdout",
        "hydra/job_logging=disabled",
        "hydra/job_logging=none",
        "hydra/launcher=joblib",
        "hydra/launcher=submitit_slurm",
        "hydra.verbose=true",
        "hydra.job_logging.handlers.file.class=logging.handlers.RotatingFileHandler",
        "+hydra.callbacks.x._target_=hydra.experimental.callbacks.LogJobReturnCallback",
        "+hydra.job.env_set.CUDA_VISIBLE_DEVICES='0'",
        "hydra.job_logging.handlers.file.filename='${hydra.runtime.output_dir}/my.log'",
    ],
)
def test_what_hydra_has_to_offer_stays(override):
    compose([override])


def test_commands_of_ones_own_for_a_launcher():
    compose(["hydra/launcher=submitit_slurm", "hydra.launcher.setup=[module load cuda]"])


def test_nothing_has_run_when_it_is_told(write, here):
    """Hydra sets up logging before the job: the check must come before Hydra."""
    text = "hydra: {job_logging: {handlers: {x: {(): os.mkdir, path: made}}}}\n"
    write("sweeps/stranger.yaml", text)
    script = "from lm_research.cli.main import main; main(['train', 'sweep=stranger'])"
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=here)
    assert done.returncode == 2
    assert "os.mkdir: may not be named" in done.stderr
    assert not (here / "made").exists()
