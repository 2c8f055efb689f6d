"""What is committed in csi_proto is what `make proto` makes of the .proto files."""

from pathlib import Path

from tools.proto import ROOT, compile_protos


def test_the_committed_modules_are_fresh(tmp_path: Path) -> None:
    compile_protos(tmp_path)
    made = {path.name: path.read_bytes() for path in Path(tmp_path, "csi_proto").iterdir()}
    committed = {name: Path(ROOT, "csi_proto", name) for name in made}
    stale = [
        name
        for name, path in committed.items()
        if not path.exists() or path.read_bytes() != made[name]
    ]
    assert stale == [], "run `make proto`"


def test_nothing_generated_is_left_of_a_proto_that_went(tmp_path: Path) -> None:
    compile_protos(tmp_path)
    made = {path.name for path in Path(tmp_path, "csi_proto").iterdir()}
    committed = {path.name for path in Path(ROOT, "csi_proto").glob("*_pb2*")}
    assert committed <= made
