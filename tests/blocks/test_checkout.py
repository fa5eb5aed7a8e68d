"""Sources as people keep them: any ref, a folder, changes not committed, submodules, LFS."""

import subprocess
import threading
from pathlib import Path

import pytest

from blocks.checkout import check_out
from blocks.git import check_no_credentials, masked
from releases.problem import BadInput, Failed, Unreachable
from tests.http_server import Answer, Request, serving

POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"


class Repository:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        self.git("init", "--quiet", "--initial-branch=main")

    def git(self, *words: str) -> str:
        identity = ["-c", "user.name=t", "-c", "user.email=t@localhost", "-c", "protocol.file.allow=always"]
        argv = ["git", "-C", str(self.folder), *identity, *words]
        return subprocess.run(argv, check=True, capture_output=True, text=True).stdout.strip()

    def commit(self, **files: str) -> str:
        for name, text in files.items():
            path = self.folder / name.replace("__", "/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        self.git("add", "-A")
        self.git("commit", "--quiet", "--allow-empty", "-m", "change")
        return self.git("rev-parse", "HEAD")


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    made = Repository(tmp_path / "service")
    made.commit(Dockerfile="FROM scratch", api__app="one")
    return made


def test_any_ref_is_exported_as_it_was(repository: Repository, tmp_path: Path) -> None:
    first = repository.git("rev-parse", "HEAD")
    repository.git("tag", "v1")
    repository.git("branch", "other")
    second = repository.commit(api__app="two")
    for number, (ref, revision, text) in enumerate(
        [("v1", first, "one"), ("other", first, "one"), (first[:10], first, "one"), ("HEAD", second, "two")]
    ):
        found = check_out(str(repository.folder), ref, "", tmp_path / str(number))
        assert (found.revision, (found.folder / "api/app").read_text()) == (revision, text)
        assert not found.dirty


def test_a_folder_of_the_repository_has_a_tree_of_its_own(repository: Repository, tmp_path: Path) -> None:
    before = check_out(str(repository.folder), "HEAD", "api", tmp_path / "1")
    repository.commit(Dockerfile="FROM other")
    after = check_out(str(repository.folder), "HEAD", "api/", tmp_path / "2")
    assert [file.name for file in after.folder.iterdir()] == ["app"]
    assert before.tree == after.tree, "a change elsewhere would have built it again"


def test_sources_are_what_a_checkout_has_not_an_archive(repository: Repository, tmp_path: Path) -> None:
    attributes = "tests export-ignore\n*.txt text eol=crlf\n"
    repository.commit(**{".gitattributes": attributes, "api__tests": "test", "api__a.txt": "a\n"})
    found = check_out(str(repository.folder), "HEAD", "api", tmp_path / "1")
    assert sorted(file.name for file in found.folder.iterdir()) == ["a.txt", "app", "tests"]
    assert (found.folder / "a.txt").read_bytes() == b"a\r\n", "what stands above the folder holds in it"
    assert repository.git("status", "--porcelain") == "", "the repository's own index was touched"


def test_a_url_is_fetched_and_its_branches_are_known(repository: Repository, tmp_path: Path) -> None:
    repository.git("branch", "staging")
    repository.commit(api__app="newer")
    found = check_out(f"file://{repository.folder}", "staging", "", tmp_path / "1")
    assert (found.folder / "api/app").read_text() == "one"


def test_uncommitted_changes_are_taken_along_and_said(repository: Repository, tmp_path: Path) -> None:
    repository.commit(**{".gitignore": "ignored"})
    for name in ("new", "ignored"):
        (repository.folder / name).write_text("x")
    found = check_out(str(repository.folder), "HEAD", "", tmp_path / "1")
    assert found.dirty
    assert found.short.endswith("-dirty")
    assert (found.folder / "new").exists()
    assert not (found.folder / "ignored").exists()


@pytest.mark.parametrize("source", ["its own folder", "a clone of its URL"])
def test_submodules_come_along_nested_ones_too(tmp_path: Path, source: str) -> None:
    inner, outer, top = (Repository(tmp_path / name) for name in ("inner", "outer", "top"))
    inner.commit(weights="deep")
    outer.git("submodule", "--quiet", "add", "../inner", "inside")
    outer.commit(code="middle")
    top.git("submodule", "--quiet", "add", str(outer.folder), "vendor/outer")
    top.git("submodule", "--quiet", "update", "--init", "--recursive")
    top.commit(Dockerfile="FROM scratch")
    outer.commit(code="later, and not what the top names")
    where = str(top.folder) if source == "its own folder" else f"file://{top.folder}"
    found = check_out(where, "HEAD", "", tmp_path / "export")
    assert (found.folder / "vendor/outer/code").read_text() == "middle"
    assert (found.folder / "vendor/outer/inside/weights").read_text() == "deep"
    vendor = check_out(where, "HEAD", "vendor", tmp_path / "folder")
    assert (vendor.folder / "outer/code").read_text() == "middle"


def test_a_submodule_that_cannot_be_fetched_is_named(tmp_path: Path) -> None:
    inner, top = Repository(tmp_path / "inner"), Repository(tmp_path / "top")
    inner.commit(a="1")
    top.git("submodule", "--quiet", "add", str(inner.folder), "inner")
    top.commit()
    inner.folder.rename(tmp_path / "gone")
    with pytest.raises(Unreachable, match="inner"):
        check_out(f"file://{top.folder}", "HEAD", "", tmp_path / "export")


def test_lfs_pointers_are_never_built_into_an_image(repository: Repository, tmp_path: Path) -> None:
    repository.commit(**{"model.onnx": POINTER})
    with pytest.raises(BadInput, match="git-lfs") as caught:
        check_out(str(repository.folder), "HEAD", "", tmp_path / "1")
    assert caught.value.where == "model.onnx"


@pytest.mark.parametrize(
    ("source", "ref", "path", "said"),
    [
        ("{repo}", "mian", "", "did you mean main"),
        ("{repo}", "HEAD", "nowhere", "there is no folder nowhere"),
        ("{repo}", "HEAD", "Dockerfile", "there is no folder Dockerfile"),
        ("{repo}/../empty", "HEAD", "", "not a git repository"),
        ("{repo}/../none", "HEAD", "", "no such folder"),
        ("file:///nowhere/at/all", "HEAD", "", "cannot be fetched"),
        ("{repo}", "--all", "", "there is no ref --all"),
    ],
)
def test_what_is_not_there_is_said(
    repository: Repository, tmp_path: Path, source: str, ref: str, path: str, said: str
) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises((BadInput, Unreachable)) as caught:
        check_out(source.format(repo=repository.folder), ref, path, tmp_path / "into")
    assert said in str(caught.value)


def test_a_folder_that_is_not_there_is_said_in_a_dirty_tree_too(
    repository: Repository, tmp_path: Path
) -> None:
    (repository.folder / "new").write_text("x")
    with pytest.raises(BadInput, match="there is no folder apii"):
        check_out(str(repository.folder), "HEAD", "apii", tmp_path / "1")


def test_a_repository_of_another_user_is_told_how_to_be_trusted(
    repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")  # git's own tests do so
    with pytest.raises(BadInput) as caught:
        check_out(str(repository.folder), "HEAD", "", tmp_path / "1")
    assert "dubious ownership" in caught.value.got
    assert caught.value.next_step == f"git config --global --add safe.directory {repository.folder}"


def test_submodules_are_found_in_a_repository_of_any_size(tmp_path: Path) -> None:
    inner, top = Repository(tmp_path / "inner"), Repository(tmp_path / "top")
    inner.commit(weights="deep")
    top.git("submodule", "--quiet", "add", str(inner.folder), "a")
    blob = top.git("hash-object", "-w", ".gitmodules")
    many = "".join(f"100644 {blob}\tfiles/{number}\n" for number in range(6000))
    argv = ["git", "-C", str(top.folder), "update-index", "--index-info"]
    subprocess.run(argv, input=many, check=True, text=True)
    top.git("commit", "--quiet", "-m", "many files after it")
    found = check_out(f"file://{top.folder}", "HEAD", "", tmp_path / "export")
    assert (found.folder / "a/weights").read_text() == "deep"


def test_a_host_that_hangs_is_worth_another_try(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("blocks.git.GIT_SECONDS", 0.5)
    over = threading.Event()

    def hang(_: Request) -> Answer:
        over.wait(20)
        return Answer(status=500)

    with serving(hang) as url:
        with pytest.raises(Unreachable, match="does not answer"):
            check_out(f"{url}/a.git", "HEAD", "", tmp_path / "1")
        over.set()


def test_a_refused_login_is_not_worth_another_try(tmp_path: Path) -> None:
    login = Answer(status=401, headers={"WWW-Authenticate": "Basic"})
    with serving(lambda _: login) as url, pytest.raises(Failed) as caught:
        check_out(f"{url}/a.git", "HEAD", "", tmp_path / "1")
    assert "credential.helper" in caught.value.next_step


def test_credentials_in_a_url_are_never_shown() -> None:
    assert masked("https://me:token@example.com/a.git") == "https://***@example.com/a.git"
    assert masked("at https://me:p@ss@example.com/a.git: no") == "at https://***@example.com/a.git: no"


@pytest.mark.parametrize("user", ["me:secret", "x-access-token:ghs_1", "ghp_0123456789", "me:p@ss"])
def test_credentials_in_a_url_are_refused_before_prefect_stores_them(user: str) -> None:
    with pytest.raises(BadInput, match="password or token") as caught:
        check_no_credentials(f"https://{user}@example.com/a.git")
    assert user not in str(caught.value)


@pytest.mark.parametrize(
    "source",
    [".", "https://example.com/a.git", "https://me@bitbucket.org/me/a.git", "git@github.com:me/a.git"],
)
def test_a_url_without_a_secret_is_taken(source: str) -> None:
    check_no_credentials(source)


def test_a_pull_requests_commit_that_a_clone_leaves_out_is_fetched(
    repository: Repository, tmp_path: Path
) -> None:
    repository.git("checkout", "--quiet", "--detach")
    commit = repository.commit(api__app="from a fork")
    repository.git("update-ref", "refs/pull/7/head", commit)
    repository.git("checkout", "--quiet", "main")
    source = f"file://{repository.folder}"
    with pytest.raises(BadInput):
        check_out(source, commit, "", tmp_path / "without")
    checkout = check_out(source, commit, "", tmp_path / "with", "refs/pull/7/head")
    assert (checkout.folder / "api/app").read_text() == "from a fork"


def test_the_tags_of_a_commit_are_known(repository: Repository, tmp_path: Path) -> None:
    repository.git("tag", "v1.0")
    repository.git("tag", "-a", "v1.1", "-m", "annotated")
    for number, source in enumerate((str(repository.folder), f"file://{repository.folder}")):
        assert check_out(source, "main", "", tmp_path / str(number)).tags == ("v1.0", "v1.1")
