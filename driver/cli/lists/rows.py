"""Pools, volumes and snapshots of a driver as rows. The keys are those of `-o json`."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

from csi_proto import cellar_pb2 as cellar
from csi_proto import csi_pb2 as csi
from csi_proto import inspect_pb2
from driver.cli.client import Client, explain_unsupported
from driver.cli.output import Row
from driver.core.ids import pool_part


def pool_rows(client: Client) -> Iterator[Row]:
    """Return a row for each pool. Raises: CallFailed."""
    return map(_pool_row, client.pools())


def _pool_row(pool: cellar.Pool) -> Row:
    return {
        "name": pool.name,
        "type": pool.type,
        "where": pool.where,
        "id": pool.id,
        "away": pool.away,
        "allocation": pool.allocation,
        "reflink": pool.reflink,
        "direct_io": pool.direct_io,
        "volumes": pool.volumes,
        "snapshots": pool.snapshots,
        "size_bytes": pool.total_bytes,
        "committed_bytes": pool.committed_bytes,
        "largest_bytes": pool.largest_bytes,
        "freeing_bytes": pool.freeing_bytes,
        "occupied": pool.occupied if pool.HasField("occupied") else None,
        "metadata_occupied": pool.metadata_occupied if pool.HasField("metadata_occupied") else None,
        "node": pool.node,
    }


def volume_rows(client: Client) -> Iterator[Row]:
    """Yield a row for each volume, page by page. Raises: CallFailed."""
    pool_names = {pool.id: pool.name for pool in client.pools()}
    for page in client.volumes():
        records = client.describe(volume_ids=[entry.volume.volume_id for entry in page])
        for entry in page:
            record = records.get(entry.volume.volume_id, cellar.Record())
            yield _volume_row(entry, record, pool_names)


def orphan_ids(client: Client) -> frozenset[str]:
    """Return the ids of the volumes that have no PersistentVolume. Raises: CallFailed."""
    with explain_unsupported(
        "only a router that asks Kubernetes knows of orphans (`kubectl cellar volumes --orphans`),"
        " unless --orphans-after is 0"
    ):
        answer = client.call(client.inspection.ListOrphans, inspect_pb2.ListOrphansRequest())
    return frozenset(orphan.volume_id for orphan in answer.orphans)


def _volume_row(
    entry: csi.ListVolumesResponse.Entry, record: cellar.Record, pool_names: dict[str, str]
) -> Row:
    volume, status = entry.volume, entry.status
    pool_id = pool_part(volume.volume_id)
    return {
        "id": volume.volume_id,
        "name": record.name,
        "namespace": record.namespace,
        "claim": record.claim,
        "persistent_volume": record.persistent,
        "pool": pool_names.get(pool_id, pool_id),
        "size_bytes": volume.capacity_bytes,
        "filesystem": record.filesystem,
        "allocation": record.allocation,
        "block_size": record.block_size,
        "created": timestamp(record.created),
        "source": _source(volume.content_source),
        "inline": record.inline,
        "held": record.held,
        "limits": dict(record.limits),
        "nodes": list(status.published_node_ids),
        "abnormal": status.volume_condition.abnormal,
        "condition": status.volume_condition.message,
    }


def _source(source: csi.VolumeContentSource) -> str:
    match source.WhichOneof("type"):
        case "snapshot":
            return f"snapshot {source.snapshot.snapshot_id}"
        case "volume":
            return f"volume {source.volume.volume_id}"
    return ""


def snapshot_rows(client: Client) -> Iterator[Row]:
    """Yield a row for each snapshot, page by page. Raises: CallFailed."""
    pool_names = {pool.id: pool.name for pool in client.pools()}
    for page in client.snapshots():
        records = client.describe(snapshot_ids=[snapshot.snapshot_id for snapshot in page])
        for snapshot in page:
            record = records.get(snapshot.snapshot_id, cellar.Record())
            yield _snapshot_row(snapshot, record, pool_names)


def _snapshot_row(snapshot: csi.Snapshot, record: cellar.Record, pool_names: dict[str, str]) -> Row:
    pool_id = pool_part(snapshot.snapshot_id)
    return {
        "id": snapshot.snapshot_id,
        "name": record.name,
        "namespace": record.namespace,
        "volume_snapshot": record.claim,
        "volume_snapshot_content": record.persistent,
        "pool": pool_names.get(pool_id, pool_id),
        "source": snapshot.source_volume_id,
        "size_bytes": snapshot.size_bytes,
        "filesystem": record.filesystem,
        "created": timestamp(snapshot.creation_time.seconds),
        "ready": snapshot.ready_to_use,
        "group": snapshot.group_snapshot_id,
    }


def timestamp(seconds: float) -> str:
    """Return a time in seconds since the epoch in ISO 8601 and UTC, or "" if `seconds` is 0
    (unknown).
    """
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds") if seconds else ""
