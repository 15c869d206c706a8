"""A report's JSON is of the written schema, and comes back as the report that it was."""

import csv
import io
import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import neurodeploy_energy.report as package
from neurodeploy.io.errors import UserError
from neurodeploy_energy import LayerRow, Report, account, compare, read_report, with_twin
from neurodeploy_energy.count.layer import InputKinds
from neurodeploy_energy.price.profiles import load
from neurodeploy_energy.price.reconciliation import reconcile
from neurodeploy_energy.report import as_csv, as_json, as_latex, as_page
from neurodeploy_energy.report.document import json_schema

HOST = load("cmos45-fp32")
SCHEMA = Path(package.__file__).parent / "report.schema.json"


def test_the_written_schema_is_that_of_the_code():
    """Write it anew with: python -c "import json; from neurodeploy_energy.report.document import json_schema as s;
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
    other = with_twin(account(model, [digits], name="calm", profiles=costs), account(model, [digits], name="twin"))
    for one in (report, other):
        path = tmp_path / "report.json"
        path.write_text(as_json(one))
        again = read_report(path)
        assert again == one
        assert as_json(again) == as_json(one)
        assert [again.energy(p.name) for p in again.profiles] == [one.energy(p.name) for p in one.profiles]


@pytest.mark.parametrize("name", ["report.json", "alone_report.json"])
def test_a_file_is_read_and_written_again_letter_by_letter(name):
    path = Path(__file__).parents[1] / "golden" / name
    assert as_json(read_report(path)) == path.read_text("utf-8")


def test_a_file_of_schema_version_2_is_read_with_its_counts_and_priced_anew(model, digits):
    old = read_report(Path(__file__).parents[2] / "files" / "energy" / "report_version_2.json")
    # it counted the zeros of the padding too, and took whole numbers among the pixels for spikes
    eager = account(type(model)(threshold=0.5), [digits], name="eager", padding=True)
    report = account(model, [digits], name="calm", baseline=eager, padding=True)
    kinds = [one.inputs for one in old.layers]
    assert kinds[0] == InputKinds(zeros=32, spikes=6.45, analog=25.55)
    # and did not say what its layers read, nor how many pairs of values and weights are not 0
    now = [replace(one, inputs=kind, reads=(), pairs=0.0) for one, kind in zip(report.layers, kinds, strict=True)]
    assert now == list(old.layers)
    assert reconcile(old.layers, old.steps)[0].unknown
    assert [p.name for p in old.profiles] == ["cmos45-fp32", "cmos45-int8", "loihi1"]
    assert old.comparison.energies[0].change_percent == report.comparison.energies[1].change_percent
    assert old.energy("loihi1").total_uj is None  # it knew no host, and a chip alone is no deployment
    hosted = replace(old, host=report.host)
    assert hosted.energy("loihi1") == report.energy("loihi1")


COUNTS = st.just(0.0) | st.floats(1e-6, 1e15)
NAMES = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


@st.composite
def reports(draw):
    """Of layers with any names and any counts."""
    names = draw(st.lists(NAMES, min_size=1, max_size=4, unique=True))
    kinds = ("synapse", "neuron", "sum", "average pool")
    rows = tuple(
        LayerRow(
            name,
            draw(st.sampled_from(kinds)),
            neurons=draw(st.integers(0, 9)),
            **{field: draw(COUNTS) for field in ("steps", "spikes", "rate", "sops", "macs", "dense_macs", "updates_idle")},
            note=draw(NAMES),
        )
        for name in names
    )
    costs = tuple(load(name) for name in draw(st.sampled_from([("loihi1",), ("cmos45-int8", "odin")])))
    places = {name: draw(st.sampled_from(["encoder", "body", "head"])) for name in names[:2]}
    return Report(draw(NAMES), draw(st.integers(1, 9)), 4, rows, {draw(NAMES): draw(NAMES)}, costs, places=places, host=HOST)


@given(reports(), reports())
def test_any_report_comes_back_from_its_file_and_is_sound_in_every_format(tmp_path_factory, report, baseline):
    report = replace(report, comparison=compare(report, baseline))
    path = tmp_path_factory.getbasetemp() / "any.json"
    path.write_text(as_json(report), encoding="utf-8")
    assert read_report(path) == report
    csv.field_size_limit(10**9)
    lines = list(csv.reader(io.StringIO(as_csv(report))))
    assert {len(line) for line in lines} == {len(lines[0])}
    assert len(lines) == 1 + len(report.layers)
    page = as_page(report, title=report.name, facts={}, notices=())
    assert page.count("<script>") == 1
    assert page.count("<svg") == page.count("</svg>")
    text = as_latex(report)
    assert text.count(r"\begin{tabular}") == text.count(r"\end{tabular}") in (3, 4)  # without spikes there is no twin


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d.pop("layers"), "layers: Field required"),
        (lambda d: d.update(schema_version=1), "schema_version: .*of schema version 3, written by this version"),
        (lambda d: d["layers"][0].update(sops=-1), "layers.0.sops: "),
        (lambda d: d["layers"][0].pop("sops"), "layers.0.sops: Field required"),
        (lambda d: d["energy"][0]["profile"].pop("note"), "energy.0.profile.note: Field required"),
        (lambda d: d["layers"][0]["inputs"].update(spikes="many"), "layers.0.inputs.spikes: "),
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
    with pytest.raises(UserError, match="no such file"):
        read_report(path)
    for content in (b"", b"{", b"[]", b"\xff\xfe", b"null"):
        path.write_bytes(content)
        with pytest.raises(UserError, match=r"report\.json: file: "):
            read_report(path)


def test_a_report_of_before_simulations_is_read_as_one_without(tmp_path):
    golden = json.loads((Path(__file__).parents[1] / "golden" / "report.json").read_text("utf-8"))
    for report in (golden, golden["baseline"]):
        report.pop("simulated")
    (tmp_path / "report.json").write_text(json.dumps(golden))
    again = read_report(tmp_path / "report.json")
    assert (again.simulated, again.comparison.baseline.simulated) == ((), ())


@pytest.mark.parametrize("within", [(), ("twin",), ("baseline",)])
@pytest.mark.parametrize(("name", "change"), [("sops", 1), ("macs", -1), ("spikes", 1)])
def test_counts_of_more_or_fewer_samples_than_the_report_has_are_refused(tmp_path, within, name, change):
    old = Path(__file__).parents[2] / "files" / "v0.1" / "energy" / "report.json"
    content = json.loads(old.read_text())
    inner = content
    for key in within:
        content[key] = inner = json.loads(old.read_text())
    kept = inner["per_sample"][name]
    inner["per_sample"][name] = [*kept, 0] if change > 0 else kept[:-1]
    (tmp_path / "report.json").write_text(json.dumps(content))
    place = "".join(f"{key}." for key in within)
    with pytest.raises(UserError, match=rf"report\.json: {place}per_sample\.{name}: .* values found, .* one for each sample"):
        read_report(tmp_path / "report.json")


def test_a_count_beyond_what_a_float_holds_is_refused_by_its_field(tmp_path):
    old = Path(__file__).parents[2] / "files" / "v0.1" / "energy" / "report.json"
    content = json.loads(old.read_text())
    content["per_sample"]["sops"][3] = 2**53 + 1
    (tmp_path / "report.json").write_text(json.dumps(content))
    with pytest.raises(UserError, match=r"report\.json: per_sample\.sops\.3: a whole number beyond 2\^53 found"):
        read_report(tmp_path / "report.json")
