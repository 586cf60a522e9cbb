"""What tasks ask of a data repository: get, put, and whether something is there.

Any object with these methods will do: a folder (`FolderRepository`), a plugin's repository, or an object of
one's own. A repository that is about one exposure and detector is what the page calls a data reference.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable


class DatasetError(LookupError):
    """A dataset that is not there, or cannot be read; the message names it and its data id."""


class DatasetExistsError(FileExistsError):
    """A dataset that was to be new is there already."""


@runtime_checkable
class Repository(Protocol):
    """Datasets by type ("raw", "bias", "isr_config") and data id.

    ``dataId`` is what the repository is about, {} for one about everything; further keys can be given with
    each call.
    """

    @property
    def dataId(self) -> Mapping[str, Any]:
        """Key and value of everything that is settled."""
        ...

    def get(self, datasetType: str, immediate: bool = True, **dataId: Any) -> Any:
        """The dataset. Raises `DatasetError`, or an error of its own, when there is none.

        ``immediate`` asks for the thing itself, not for a stand-in that reads it later.
        """
        ...

    def put(
        self,
        obj: Any,
        datasetType: str,
        *,
        doBackup: bool = False,
        mustBeNew: bool = False,
        **dataId: Any,
    ) -> None:
        """Store a dataset, whole or not at all.

        With ``doBackup`` one that was there is kept under another name. With ``mustBeNew`` there must be
        none, also at the very moment of writing: raises `DatasetExistsError`.
        """
        ...

    def datasetExists(self, datasetType: str, **dataId: Any) -> bool:
        """Whether there is such a dataset."""
        ...
