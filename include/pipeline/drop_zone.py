"""What lies in the drop zone, `s3://<bucket>/drop/<source>/…`: what no run has taken yet, and what nobody takes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from include.landing import Dropped, LandingStore
from include.pipeline.model import Entity, Source
from include.pipeline.partition import partition_told
from include.warehouse import landings


@dataclass(frozen=True)
class Survey:
    """What was found.

    Attributes:
        arrived: Source -> the files that no run of it has landed yet.
        strays: The files that no entity takes.
    """

    arrived: Mapping[str, Sequence[Dropped]]
    strays: Sequence[Dropped]


def survey(sources: Mapping[str, Source], store: LandingStore, dsn: str, *, unreadable: Collection[str] = ()) -> Survey:
    """Look through the whole drop zone.

    A file that a run has landed is no news, even where the run came to grief later: it has said so, and whoever mends
    it runs it again. Put anew with another content it is another file.

    Args:
        sources: All sources by name.
        store: Where the drop zone lies.
        dsn: postgresql:// URI of `sluice_loader`.
        unreadable: Sources whose `source.yml` is wrong: of their files nothing can be said.
    """
    taken = landings.taken_files(dsn)
    arrived: dict[str, list[Dropped]] = defaultdict(list)
    strays = []
    for file in store.dropped("drop/", "*"):
        name, _, key = file.uri.removeprefix(f"s3://{store.bucket}/drop/").partition("/")
        if name in unreadable:
            continue
        source = sources.get(name)
        takers = [entity for entity in source.entities if takes(source, entity, key)] if source else []
        if not takers:
            strays.append(file)
        elif any((name, entity, file.uri, file.etag) not in taken for entity in takers):
            arrived[name].append(file)
    return Survey(arrived, strays)


def takes(source: Source, entity_name: str, key: str) -> bool:
    """Whether an entity takes the object with a key below `drop/<source>/`."""
    entity = source.entities[entity_name]
    if entity.stand_in:
        return partition_told(source.partition_of(entity_name), entity.stand_in, key) is not None
    return entity.files is not None and fnmatchcase(key, entity.files)


def explain(stray: Dropped, sources: Mapping[str, Source], bucket: str) -> str:
    """Why a file is nobody's, and where it would be taken."""
    name = stray.uri.removeprefix(f"s3://{bucket}/drop/").partition("/")[0]
    if (source := sources.get(name)) and (wanted := _wanted(source.entities.values())):
        return f"{stray.uri}: no entity of {name} takes it; they take drop/{name}/ and then {', '.join(wanted)}"
    takers = [one.name for one in sources.values() if _wanted(one.entities.values())]
    why = "takes no files" if source else "is no source"
    return f"{stray.uri}: {name!r} {why}; those that take files are {', '.join(takers)}"


def _wanted(entities: Collection[Entity]) -> list[str]:
    return [wanted for entity in entities if (wanted := entity.files or entity.stand_in)]
