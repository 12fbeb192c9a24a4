import subprocess

from lm_research.tracking import git_state as module
from lm_research.tracking.git_state import git_state, tracked


def test_a_clean_repository(repository, git):
    (repository / "sub").mkdir()
    state = git_state(repository / "sub")
    assert state == {
        "root": str(repository),
        "commit": git(repository, "rev-parse", "HEAD"),
        "branch": "trunk",
        "remote": None,
        "dirty": False,
        "untracked": [],
        "untracked_count": 0,
        "diff": "",
        "diff_cut": False,
    }


def test_uncommitted_changes_can_be_applied_again(repository, git):
    (repository / "a.py").write_text("x = 2  # 字\n")
    (repository / "staged.py").write_text("y = 1\n")
    git(repository, "add", "staged.py")
    (repository / "naïve file.txt").write_text("x")
    state = git_state(repository)
    assert state["dirty"]
    assert state["untracked"] == ["naïve file.txt"]
    git(repository, "reset", "-q", "--hard")
    subprocess.run(
        ["git", "-C", str(repository), "apply"], input=state["diff"], text=True, check=True
    )
    assert (repository / "a.py").read_text() == "x = 2  # 字\n"
    assert (repository / "staged.py").read_text() == "y = 1\n"


def test_a_large_diff_is_cut_and_says_so(repository, monkeypatch):
    monkeypatch.setattr(module, "LARGEST_DIFF", 1000)
    (repository / "a.py").write_text("x = 1\n" * 1000)
    state = git_state(repository)
    assert len(state["diff"]) == 1000
    assert state["diff_cut"]


def test_no_credentials_of_the_remote_and_no_branch_when_detached(repository, git):
    git(repository, "remote", "add", "origin", "https://me:secret@example.org/x.git")
    git(repository, "checkout", "-q", "--detach")
    state = git_state(repository)
    assert state["remote"] == "https://<redacted>@example.org/x.git"
    assert state["branch"] is None


def test_before_the_first_commit(tmp_path, git):
    git(tmp_path, "init", "-q")
    assert git_state(tmp_path)["commit"] is None


def test_no_repository_and_no_git(tmp_path, repository, monkeypatch):
    assert git_state(tmp_path / "nowhere") is None
    monkeypatch.setenv("PATH", str(tmp_path))
    assert git_state(repository) is None
    assert not tracked(repository / "a.py")


def test_tracked(repository):
    (repository / "b.py").write_text("")
    assert tracked(repository / "a.py")
    assert not tracked(repository / "b.py")
