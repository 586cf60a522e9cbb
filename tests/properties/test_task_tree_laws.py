"""Laws: every task of a tree has the name of its place, and the tree looks the same from all of them."""

from __future__ import annotations

import pickle
from typing import Any

import attrs
from hypothesis import given
from hypothesis import strategies as st

from isrcore import Config, Task

NAMES = st.sampled_from(["isr", "fringe", "overscan", "a", "b", "c"])


@attrs.frozen
class Branch:
    """A task to be, and its subtasks by name."""

    name: str
    children: tuple[Branch, ...]


def branches() -> st.SearchStrategy[Branch]:
    """Trees whose siblings have different names."""

    def wider(inner: st.SearchStrategy[Branch]) -> st.SearchStrategy[Branch]:
        many = st.lists(inner, max_size=3, unique_by=lambda branch: branch.name).map(tuple)
        return st.builds(Branch, NAMES, many)

    return st.recursive(st.builds(Branch, NAMES, st.just(())), wider, max_leaves=8)


def grow(branch: Branch, parent: Task | None = None) -> list[tuple[str, Task]]:
    """The tasks of a tree with the names that their places give them."""
    task = Task(config=Config(), name=branch.name, parentTask=parent)
    path = branch.name if parent is None else f"{parent.getFullName()}.{branch.name}"
    return [(path, task), *(found for child in branch.children for found in grow(child, task))]


@given(branches())
def test_a_full_name_is_the_path_from_the_root(branch: Branch) -> None:
    for path, task in grow(branch):
        assert task.getFullName() == path
        assert task.getName() == path.rpartition(".")[2]


@given(branches(), st.data())
def test_metadata_and_tasks_are_the_same_from_every_task(branch: Branch, data: st.DataObject) -> None:
    tasks = grow(branch)
    for number, (_, task) in enumerate(tasks):
        task.metadata.set("number", number)
    expected = {path.replace(".", ":"): number for number, (path, _) in enumerate(tasks)}
    _, asked = data.draw(st.sampled_from(tasks))
    found = asked.getFullMetadata()
    assert {name: metadata.scalar("number") for name, metadata in found.items()} == expected
    assert asked.getTaskDict() == dict(tasks)
    asked.emptyMetadata()
    assert all(len(task.metadata) == 0 for _, task in tasks)


class Measuring(Task):
    """A task with a schema of its own name."""

    def getSchemaCatalogs(self) -> dict[str, Any]:
        return {self.getName(): self.getFullName()}


@given(branches(), st.data())
def test_schemas_are_the_same_from_every_task_and_the_later_wins(branch: Branch, data: st.DataObject) -> None:
    def sprout(part: Branch, parent: Task | None = None) -> list[Task]:
        task = Measuring(config=Config(), name=part.name, parentTask=parent)
        return [task, *(found for child in part.children for found in sprout(child, task))]

    tasks = sprout(branch)
    expected = {task.getName(): task.getFullName() for task in tasks}
    assert data.draw(st.sampled_from(tasks)).getAllSchemaCatalogs() == expected


@given(branches())
def test_a_pickled_task_keeps_name_and_parentage(branch: Branch) -> None:
    for path, task in grow(branch):
        again = pickle.loads(pickle.dumps(task))
        assert again.getFullName() == path
        assert set(again.getTaskDict()) <= set(task.getTaskDict())


def test_example_a_task_two_levels_down() -> None:
    (_, top), (_, middle), (_, bottom) = grow(Branch("top", (Branch("sub", (Branch("sub2", ()),)),)))
    assert bottom.getFullName() == "top.sub.sub2"
    bottom.metadata.set("amplitude", 3)
    assert top.getFullMetadata()["top:sub:sub2"]["amplitude"] == 3
    assert middle.getFullMetadata() == top.getFullMetadata()
