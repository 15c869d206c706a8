"""A report's JSON is of the written schema, and comes back as the report that it was."""

import json
from pathlib import Path

import pytest

import neurodeploy_energy.report as package
from neurodeploy.errors import UserError
from neurodeploy_energy import profile
from neurodeploy_energy.comparison import with_twin
from neurodeploy_energy.report import as_json, read_report
from neurodeploy_energy.report.schema import json_schema

SCHEMA = Path(package.__file__).parent / "report.schema.json"


def test_the_written_schema_is_that_of_the_code():
    """Write it anew with: python -c "import json; from neurodeploy_energy.report.schema import json_schema as s;
    print(json.dumps(s(), indent=2))" > energy/neurodeploy_energy/report/report.schema.json"""
    assert json.loads(SCHEMA.read_text()) == json_schema()


def test_a_validator_of_json_schema_finds_the_report_valid(report):
    jsonschema = pytest.importorskip("jsonschema", reason="jsonschema is not installed")
    document = json.loads(as_json(report))
    jsonschema.validate(document, json.loads(SCHEMA.read_text()))
    document["energy"][0]["estimate"] = False
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(document, json.loads(SCHEMA.read_text()))


def test_a_report_comes_back_as_it_was(report, model, digits, tmp_path):
    costs = ("cmos45-int8+lemaire", "truenorth")
    other = with_twin(profile(model, [digits], name="calm", profiles=costs), profile(model, [digits], name="twin"))
    for one in (report, other):
        path = tmp_path / "report.json"
        path.write_text(as_json(one))
        again = read_report(path)
        assert again == one
        assert as_json(again) == as_json(one)
        assert [again.energy(p.name) for p in again.profiles] == [one.energy(p.name) for p in one.profiles]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d.pop("layers"), "layers: Field required"),
        (lambda d: d.update(schema_version=1), "schema_version: .*of schema version 2, written by this version"),
        (lambda d: d["layers"][0].update(sops=-1), "layers.0.sops: "),
        (lambda d: d["layers"][0].update(colour="red"), "layers.0.colour: "),
        (lambda d: d["energy"][0]["profile"].update(scope="world"), "energy.0.profile.scope: "),
        (lambda d: d["total"].update(sops=float("nan")), "total.sops: "),
    ],
)
def test_a_damaged_report_is_refused_with_its_first_fault(report, tmp_path, change, message):
    document = json.loads(as_json(report))
    change(document)
    path = tmp_path / "report.json"
    path.write_text(json.dumps(document))
    with pytest.raises(UserError, match=rf"^{path}: {message}"):
        read_report(path)


def test_what_is_no_report_is_refused(tmp_path):
    path = tmp_path / "report.json"
    with pytest.raises(UserError, match="No such file"):
        read_report(path)
    for content in (b"", b"{", b"[]", b"\xff\xfe", b"null"):
        path.write_bytes(content)
        with pytest.raises(UserError, match=r"report\.json: file: "):
            read_report(path)
