"""Energy profiles: the constants are those of their sources, and a user's own file is checked key by key."""

from dataclasses import replace

import pytest

from neurodeploy.io.errors import UserError
from neurodeploy_energy import LayerRow, Report
from neurodeploy_energy.price.profiles import built_in, load, parse, published_inferences, text_of

OWN = """
title = "My chip"
source = "data sheet, table 3"
year = 2024
scope = "system"
basis = "measured"

[cost_pj]
ac = 2
spike = 0.5
"""

QUOTED = {"neuronflow": 20.0, "reckon": 5.3, "spinnaker2": 10.0, "tianjic": 1.54, "truenorth-2015": 2.5, "ubrain": 26.0}


def report_of(*rows, profiles=("cmos45-fp32", "cmos45-int8", "loihi1")):
    return Report("model", 10, 4, rows, {}, tuple(load(name) for name in profiles))


@pytest.mark.parametrize(
    ("name", "constants"),
    [
        ("cmos45-fp32", (4.6, 0.9, None, None, None)),
        ("cmos45-fp16", (1.5, 0.4, None, None, None)),
        ("cmos45-int32", (3.2, 0.1, None, None, None)),
        ("cmos45-int8", (0.23, 0.03, None, None, None)),
        ("truenorth", (None, 26.0, None, None, None)),
        ("odin", (None, 12.7, None, None, None)),
        ("darwin3", (None, 5.47, None, None, None)),
        ("spinnaker1", (None, 5.8e6, None, None, None)),
        ("spinnaker2", (None, 10.0, None, None, None)),
        ("loihi1", (None, 23.6, 81.0, 52.0, 1.7)),
    ],
)
def test_the_constants_are_those_of_the_publications(name, constants):
    p = built_in()[name]
    assert (p.mac, p.ac, p.neuron_update_active, p.neuron_update_idle, p.spike) == constants


def test_arithmetic_is_one_multiplication_and_one_addition():
    arithmetic = [p for p in built_in().values() if p.scope == "operation"]
    assert len(arithmetic) == 10
    for p in arithmetic:
        assert p.mac == pytest.approx(p.multiply + p.ac)
        assert p.numbers
        assert p.bits


def test_an_all_in_profile_gets_no_terms_of_neurons_or_spikes_and_misses_none():
    row = LayerRow("l", "synapse", sops=1000, macs=5, updates_active=30, updates_idle=70, spikes=40)
    names = [name for name, p in built_in().items() if p.all_in]
    assert names == sorted([*QUOTED, "darwin3", "odin", "seneca", "spinnaker1", "truenorth"])
    report = report_of(row, profiles=names)
    for name in names:
        assert report.energy(name).chip_uj == pytest.approx(1000e-6 * built_in()[name].ac)
        assert report.energy(name).left_out == ("5 multiply-accumulates on analog values, which run on a host",)
        assert report.energy(name).total_uj is None


def test_constants_that_a_survey_quotes_are_those_of_its_table():
    """Tang et al., Frontiers in Neuroscience 2023, table 3 (PMC10326429)."""
    for name, picojoules in (QUOTED | {"odin": 12.7, "loihi1": 23.6, "seneca": 2.8}).items():
        assert built_in()[name].ac == picojoules
    assert all("Tang" in built_in()[name].source and built_in()[name].basis == "estimated" for name in QUOTED)


def fitted(node, voltage):
    """Energy factors of Stillmaker and Baas, Integration 58, 2017; their corrigendum works out that of 65 nm at 1.3 V."""
    a2, a1, a0 = {
        65: (3.755, -4.398, 1.975),
        45: (1.103, -0.362, 0.2767),
        32: (0.9559, -0.7823, 0.471),
        20: (0.373, -0.1582, 0.04104),
        16: (0.2958, -0.1241, 0.03024),
        7: (0.1776, -0.09097, 0.02447),
    }[node]
    return a2 * voltage**2 + a1 * voltage + a0


def test_scaled_profiles_are_those_of_45_nm_times_the_ratio_of_two_fits():
    assert fitted(65, 1.3) == pytest.approx(2.604, abs=1e-3)
    at_28 = (2 * fitted(32, 0.9) + fitted(20, 0.9)) / 3
    for node, energy in {28: at_28, 16: fitted(16, 0.85), 7: fitted(7, 0.7)}.items():
        for numbers in ("fp32", "int8"):
            before, scaled = (built_in()[f"cmos{n}-{numbers}"] for n in (45, node))
            factor = energy / fitted(45, 0.9)
            assert (scaled.multiply, scaled.ac) == pytest.approx((factor * before.multiply, factor * before.ac), rel=5e-3)
            assert scaled.mac == pytest.approx(scaled.multiply + scaled.ac)
            assert "Scaled" in scaled.note


def test_memory_of_one_process_is_not_added_to_the_arithmetic_of_another():
    with pytest.raises(
        UserError, match=r"cmos7-int8: its arithmetic is that of 7 nm, the accesses of \+lemaire are those of 45"
    ):
        load("cmos7-int8+lemaire")


def test_published_inferences_have_sources_and_are_no_profiles():
    xylo = published_inferences()[0]
    assert (xylo.chip, xylo.uj) == ("Xylo Audio 2", 6.6)
    assert all(one.source and one.task and one.uj > 0 for one in published_inferences())
    assert not any(name.startswith("xylo") for name in built_in())


def test_loihi_2_has_no_constants_of_ours_and_takes_the_users(tmp_path):
    assert "loihi2" not in built_in()
    with pytest.raises(UserError, match=r"loihi2: no energy per operation of Loihi 2 has been published.*write your own"):
        load("loihi2")
    path = tmp_path / "my-loihi2.toml"
    path.write_text(text_of("loihi2").replace("# ac = …", "ac = 7.5 #").replace("# power_mw = …", "power_mw = 30 #"))
    with pytest.raises(UserError, match=r"static\.step_us: missing; static energy is power times the duration"):
        load(str(path))
    path.write_text(path.read_text().replace("# step_us = …", "step_us = 100 #"))
    mine = load(str(path))
    assert (mine.name, mine.ac, mine.static_mw, mine.step_us) == ("my-loihi2", 7.5, 30.0, 100.0)


def test_every_embedded_profile_says_where_its_constants_come_from():
    assert built_in()
    for name, p in built_in().items():
        assert p.name == name
        assert all((p.title, p.source, p.process, p.scope, p.basis, p.note))
        assert 2000 < p.year < 2100


def test_an_energy_is_the_sum_of_counts_times_constants():
    row = LayerRow("l", "synapse", sops=1000, macs=200, adds=10, analog_adds=5, updates_active=30, updates_idle=70, spikes=40)
    report = report_of(row)
    assert report.energy("cmos45-fp32").total_uj == pytest.approx(1e-6 * (0.9 * (1000 + 10 + 5) + 4.6 * 200), rel=1e-12)
    assert report.energy("cmos45-int8").total_uj == pytest.approx(1e-6 * (0.03 * (1000 + 10 + 5) + 0.23 * 200), rel=1e-12)
    on_chip = 23.6 * (1000 + 10) + 81 * 30 + 52 * 70 + 1.7 * 40
    hosted = replace(report, host=load("cmos45-fp32")).energy("loihi1")
    assert hosted.chip_uj == pytest.approx(1e-6 * on_chip, rel=1e-12)
    assert hosted.host_uj == pytest.approx(1e-6 * (4.6 * 200 + 0.9 * 5), rel=1e-12)
    assert hosted.total_uj == pytest.approx(hosted.chip_uj + hosted.host_uj)
    (layer,) = report.energy("loihi1").layers
    assert (layer.neuron_updates, layer.spikes) == (pytest.approx(81 * 30 + 52 * 70), pytest.approx(1.7 * 40))


@pytest.mark.parametrize(("acs", "macs", "millijoules"), [(0.10e9, 0.14e9, 0.734), (0.50e9, 2.75e9, 13.10), (0, 1.82e9, 8.372)])
def test_published_totals_come_out(acs, macs, millijoules):
    """SpikingResNet18, SEW-ResNet18 and the dense ResNet18, as the README of syops prints them."""
    report = report_of(LayerRow("l", "synapse", sops=acs, macs=macs))
    assert report.energy("cmos45-fp32").total_uj == pytest.approx(millijoules * 1000, rel=1e-3)


def test_what_a_profile_gives_no_cost_for_is_named_with_its_amount():
    row = LayerRow("l", "synapse", sops=1, macs=1200, analog_adds=7, updates_active=30, updates_idle=70, spikes=40)
    report = report_of(row)
    assert report.energy("loihi1").left_out == (
        "1,200 multiply-accumulates on analog values, which run on a host",
        "7 additions of analog values, which run on a host",
    )
    assert report.energy("cmos45-fp32").left_out == ("30 active neuron updates", "70 idle neuron updates", "40 spikes sent")
    assert report_of(LayerRow("l", "synapse", sops=1)).energy("loihi1").left_out == ()


def test_an_energy_under_a_profile_that_the_report_lacks_is_refused():
    with pytest.raises(UserError, match="profile 'loihi1': not in this report, which has cmos45-fp32"):
        report_of(profiles=("cmos45-fp32",)).energy("loihi1")


def test_a_profile_of_ones_own_is_read_from_its_file(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(OWN)
    mine = load(str(path))
    assert (mine.name, mine.ac, mine.spike, mine.mac) == ("mine", 2.0, 0.5, None)
    report = Report("m", 1, 1, (LayerRow("l", "neuron", spikes=4, sops=10),), {}, (mine,))
    assert report.energy("mine").total_uj == pytest.approx(22e-6)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("year = 2024", ""), "year: missing"),
        (("year = 2024", 'year = "2024"'), "year: '2024' found, a whole number expected"),
        (("year = 2024", "year = true"), "year: True found, a whole number expected"),
        (('source = "data sheet, table 3"', 'source = " "'), "source: empty; say where"),
        (('title = "My chip"', "title = 3"), "title: 3 found, text expected"),
        (('"system"', '"chip"'), "scope: 'chip' found, one of operation, core, system expected"),
        (('"measured"', '"guessed"'), "basis: 'guessed' found, one of measured, simulated, estimated expected"),
        (("year = 2024", "year = 2024\nvendor = 'x'"), "vendor: unknown key; allowed are all_in, basis, bits, note"),
        (("year = 2024", "year = 2024\nname = 'x'"), "name: unknown key"),
        (("year = 2024", "year = 2024\nmac = 3"), "mac: unknown key"),
        (("ac = 2", "ac = -2"), "cost_pj.ac: -2 found, a number of pJ from 0 upwards expected"),
        (("ac = 2", "ac = nan"), "cost_pj.ac: nan found"),
        (("ac = 2", "ac = inf"), "cost_pj.ac: inf found"),
        (("ac = 2", 'ac = "2 pJ"'), "cost_pj.ac: '2 pJ' found"),
        (("ac = 2", "ac = false"), "cost_pj.ac: False found"),
        (("ac = 2", "hop = 2"), "cost_pj.hop: unknown cost; allowed are mac, ac, multiply, integer_multiply"),
        (("[cost_pj]", "cost_pj = 3\n[other]"), "cost_pj: a table of costs in pJ expected"),
        (("[cost_pj]", "static = 3\n[cost_pj]"), "static: a table of power_mw and step_us expected"),
        (("[cost_pj]", "static = { watt = 3 }\n[cost_pj]"), "static.watt: unknown key; allowed are power_mw, step_us"),
        (("[cost_pj]", "bits = 0\n[cost_pj]"), "bits: 0 found, a whole number expected"),
        (("[cost_pj]", "numbers = 'complex'\n[cost_pj]"), "numbers: 'complex' found, one of float, integer expected"),
        (("[cost_pj]", "all_in = 1\n[cost_pj]"), "all_in: 1 found, true or false expected"),
        (("[cost_pj]", "all_in = true\n[cost_pj]"), "all_in: the one cost of such a profile is cost_pj.ac, ac, spike found"),
        (("ac = 2", "multiply = 2"), "cost_pj.multiply: is a part of cost_pj.mac, which is less or missing"),
        (("year = 2024", "year = "), "not valid TOML"),
        (("year = 2024", "year = 2024-01-01"), r"year: ['2024-01-01'] found, a whole number expected"),
        (("year = 2024", "year = 2024\ntemplate = 3"), "template: 3 found, text expected"),
    ],
)
def test_a_mistake_in_ones_own_profile_is_named_with_file_and_key(tmp_path, change, message):
    path = tmp_path / "mine.toml"
    path.write_text(OWN.replace(*change))
    with pytest.raises(UserError) as error:
        load(str(path))
    assert str(error.value).startswith(f"{path}: {message}")


@pytest.mark.parametrize("name", ["absent", "../cost", "loihi1/..", ""])
def test_an_unknown_profile_is_refused_with_those_that_there_are(name):
    with pytest.raises(UserError, match=r"not known; there are: cmos16-fp32, .*, truenorth, .*; or give the path"):
        text_of(name)


def test_files_that_cannot_be_read_are_refused(tmp_path):
    with pytest.raises(UserError, match=r"absent\.toml: no such file"):
        load(str(tmp_path / "absent.toml"))
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match="no UTF-8 text found"):
        load(str(tmp_path / "binary.toml"))
    (tmp_path / "folder.toml").mkdir()
    with pytest.raises(UserError, match=r"folder\.toml: not a file"):
        load(str(tmp_path / "folder.toml"))


@pytest.mark.parametrize("name", sorted(built_in()))
def test_an_embedded_profile_is_what_a_checked_reading_of_its_file_gives(name):
    checked = parse(text_of(name), name=name, origin=name)
    assert checked == load(name) == built_in()[name]
    costs = ("mac", "ac", "neuron_update_active", "neuron_update_idle", "spike", "multiply", "static_mw", "step_us")
    assert all(type(getattr(load(name), cost)) in (float, type(None)) for cost in costs)
