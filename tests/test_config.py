"""Configs by example: types, names, sections, layers, files, freezing, comparing."""

from __future__ import annotations

import math
import pickle
from collections.abc import Iterator
from pathlib import Path

import pytest

from isrcore.config import (
    Change,
    Config,
    ConfigError,
    ConfigSection,
    UnknownFieldError,
    field,
    section,
    subconfig,
    target_name,
)
from isrcore.config_recipes import make_config_class


class LevelConfig(Config):
    fitType: str = field("MEDIAN", "How the level is found.", choices=("MEDIAN", "MEAN"))
    numSigmaClip: float = field(3.0, "Rejection threshold, in sigma.", minimum=0.0)


class Level:
    ConfigClass = LevelConfig


class SameLevel:
    ConfigClass = LevelConfig


class SplineConfig(Config):
    order: int = field(4, "Order of the spline.", minimum=1, maximum=9)


class Spline:
    ConfigClass = SplineConfig


class QaConfig(Config):
    saveStats: bool = field(True, "Whether statistics are kept.")


def is_even(value: int) -> bool:
    """an even number"""
    return value % 2 == 0


class IsrConfig(Config):
    doBias: bool = field(True, "Subtract the bias.")
    doDark: bool = field(True, "Subtract the dark.")
    saturation: float = field(math.nan, "Level in adu; NaN keeps the detector's.")
    fallbackFilterName: str | None = field(None, "Filter tried when a calibration is missing.")
    fwhm: float | None = field(1.0, "Seeing, in arcsec.", exclusive_minimum=0.0)
    meshSize: int = field(256, "Mesh size, in pixels.", check=is_even)
    planes: list[str] = field(["SAT", "BAD"], "Planes to interpolate.")
    sizes: list[int] = field([3, 30], "Box sizes, in pixels.", minimum=1)
    corner: tuple[int, float] = field((1, 2.0), "A pair.")
    fluxMag0T1: dict[str, float] = field({"r": 1e11}, "Zero point by filter.")
    overscan: ConfigSection = section(Level, "Overscan level.", (SameLevel, Spline))
    qa: QaConfig = subconfig(QaConfig, "Quality control.")

    def problems(self) -> Iterator[str]:
        if self.doDark and not self.doBias:
            yield "'doDark' needs 'doBias'"


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_a_value_that_was_set_is_read_back() -> None:
    config = IsrConfig(doDark=False)
    config.overscan.fitType = "MEAN"
    config.qa.saveStats = False
    config.set("overscan.numSigmaClip", 5)
    assert (config.doDark, config.overscan.fitType, config.qa.saveStats) == (False, "MEAN", False)
    assert config.get("overscan.numSigmaClip") == 5.0


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("doBias", 1),
        ("doBias", None),
        ("meshSize", 2.0),
        ("meshSize", True),
        ("saturation", "12"),
        ("saturation", True),
        ("saturation", 10**400),
        ("fallbackFilterName", 3),
        ("fallbackFilterName", "none"),
        ("fallbackFilterName", "\ud800"),
        ("planes", "SAT"),
        ("planes", [1]),
        ("sizes", [True]),
        ("corner", (1, 2.0, 3)),
        ("fluxMag0T1", {"r": "bright"}),
        ("fluxMag0T1", {1: 2.0}),
        ("qa", QaConfig()),
        ("overscan", Level),
    ],
)
def test_a_wrong_type_is_an_error_and_changes_nothing(name: str, value: object) -> None:
    config = IsrConfig()
    with pytest.raises(ConfigError, match=name):
        config.set(name, value)
    assert config == IsrConfig()


def test_only_int_becomes_float_by_itself() -> None:
    config = IsrConfig(saturation=50000, fluxMag0T1={"g": 1}, corner=[1, 2])
    assert isinstance(config.saturation, float)
    assert isinstance(config.fluxMag0T1["g"], float)
    assert config.corner == (1, 2.0)
    assert isinstance(config.corner[1], float)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("overscan.fitType", "MEDAN"),
        ("overscan.numSigmaClip", -1.0),
        ("fwhm", 0.0),
        ("meshSize", 3),
        ("sizes", [3, 0]),
    ],
)
def test_a_constraint_is_checked_at_once(name: str, value: object) -> None:
    with pytest.raises(ConfigError, match=name):
        IsrConfig().set(name, value)


def test_an_upper_bound_is_kept_and_none_and_nan_keep_every_bound() -> None:
    config = IsrConfig(fwhm=None)
    config.overscan.numSigmaClip = math.nan
    with pytest.raises(ConfigError, match="<= 9"):
        SplineConfig(order=10)


def test_the_error_says_field_type_value_author_and_definition() -> None:
    config = IsrConfig()
    with config.layer("camera overrides", "isrcore_cfht"), pytest.raises(ConfigError) as caught:
        config.overscan.numSigmaClip = "high"
    assert str(caught.value) == (
        "'overscan.numSigmaClip' wants float >= 0.0, got 'high' (str)\n"
        "  set by 'isrcore_cfht' (layer 'camera overrides');"
        f" defined in {__name__}.LevelConfig: Rejection threshold, in sigma."
    )


def test_a_wrong_choice_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match="did you mean 'MEDIAN'"):
        IsrConfig().overscan.fitType = "MEDAN"


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ("doBais", "doBias"),
        ("overscan.fitTyp", "overscan.fitType"),
        ("overscn.fitType", "overscan.fitType"),
        ("overscn", "overscan"),
    ],
)
def test_an_unknown_name_is_an_attribute_error_with_the_nearest_name(wrong: str, right: str) -> None:
    with pytest.raises(UnknownFieldError, match=f"'{wrong}'.*did you mean '{right}'") as caught:
        IsrConfig().set(wrong, True)
    assert isinstance(caught.value, AttributeError)


def test_a_name_far_from_all_others_has_no_suggestion() -> None:
    with pytest.raises(UnknownFieldError, match=r"^no field 'xyz' in 'IsrConfig'$"):
        IsrConfig().get("xyz")


def test_unknown_attributes_of_sections_are_refused() -> None:
    config = IsrConfig()
    with pytest.raises(UnknownFieldError, match=r"overscan\.fitType"):
        config.overscan.fitTyp = "MEAN"
    with pytest.raises(UnknownFieldError, match="saveStats"):
        config.qa.saveStat = True
    with pytest.raises(UnknownFieldError, match="doBias"):
        IsrConfig(doBais=True)
    assert not hasattr(config, "doBais")


def test_a_field_of_a_section_is_suggested_by_its_last_name() -> None:
    config = IsrConfig()
    config.overscan.retarget(Spline)
    with pytest.raises(UnknownFieldError, match=r"did you mean 'overscan\.order'"):
        config.get("order")


def test_fields_cannot_be_deleted() -> None:
    with pytest.raises(ConfigError, match="doBias"):
        del IsrConfig().doBias
    with pytest.raises(ConfigError, match=r"overscan\.fitType"):
        del IsrConfig().overscan.fitType


def test_collections_are_set_as_a_whole() -> None:
    config = IsrConfig()
    with pytest.raises(ConfigError, match="as a whole"):
        config.planes.append("SUSPECT")
    with pytest.raises(ConfigError, match="as a whole"):
        config.fluxMag0T1["g"] = 1.0
    config.planes = [*config.planes, "SUSPECT"]
    assert config.planes == ["SAT", "BAD", "SUSPECT"]
    assert IsrConfig().planes == ["SAT", "BAD"]


def test_a_class_inherits_fields_and_may_change_a_default() -> None:
    class CfhtConfig(IsrConfig):
        doDark: bool = field(False, "MegaCam has no dark current.")
        safe: float = field(0.95, "Fraction of the saturation level that is safe.")

    config = CfhtConfig()
    assert (config.doDark, config.safe, config.overscan.fitType) == (False, 0.95, "MEDIAN")
    assert config.origin("doDark").who.endswith("CfhtConfig")
    assert config.origin("doBias").who.endswith("IsrConfig")


def test_faulty_declarations_are_refused() -> None:
    with pytest.raises(TypeError, match="needs a text"):
        type("Undocumented", (Config,), {"__annotations__": {"rate": float}, "rate": 1.0})
    with pytest.raises(TypeError, match="needs a type"):
        type("Untyped", (Config,), {"rate": field(1.0, "Rate.")})
    with pytest.raises(TypeError, match="configs use themselves"):
        make_config_class("Taken", (Config,), {"freeze": (bool, field(True, "Freeze."))})
    with pytest.raises(TypeError, match="does not support"):
        make_config_class("Odd", (Config,), {"rate": (complex, field(1j, "Rate."))})()
    with pytest.raises(TypeError, match="does not support"):
        make_config_class("Gaps", (Config,), {"rates": (list[float | None], field([], "Rates."))})()
    with pytest.raises(ConfigError, match="layer 'default'"):
        make_config_class("Low", (Config,), {"rate": (float, field(-1.0, "Rate.", minimum=0))})()
    with pytest.raises(TypeError, match="ConfigClass"):
        section(object, "No target.")
    with pytest.raises(TypeError, match="written name"):
        section(Level, "Two of one name.", (type("Level", (), {"ConfigClass": QaConfig}),))


def test_classes_made_from_equal_parts_are_one_class() -> None:
    def make(default: float) -> type[Config]:
        parts = {"rate": (float, field(default, "Rate.")), "level": (ConfigSection, section(Level, "Level."))}
        return make_config_class("Made", (IsrConfig,), parts)

    assert make(math.nan) is make(float("nan"))
    assert make(1.0) is not make(2.0)
    config = make(1.0)(rate=3.0, doBias=False)
    config.level.fitType = "MEAN"
    twin = pickle.loads(pickle.dumps(config))
    assert twin == config
    assert type(twin) is type(config)
    assert twin.history("level.fitType") == config.history("level.fitType")


def test_retargeting_to_another_config_class_starts_from_its_defaults() -> None:
    config = IsrConfig()
    config.overscan.numSigmaClip = 7.0
    config.overscan.retarget(SameLevel)
    assert config.overscan.target is SameLevel
    assert config.overscan.numSigmaClip == 7.0
    config.overscan.retarget(target_name(Spline))
    assert config.overscan.target is Spline
    assert config.overscan.value == SplineConfig()
    config.overscan.retarget(Level)
    assert config.overscan.numSigmaClip == 3.0


def test_a_retargeted_section_keeps_its_place_and_history() -> None:
    config = IsrConfig()
    with config.layer("camera overrides", "isrcore_cfht"):
        config.overscan.retarget(Spline)
        config.overscan.order = 5
    written = target_name(Spline)
    assert config.origin("overscan.implementation") == Change(written, "camera overrides", "isrcore_cfht")
    assert config.origin("overscan.order") == Change(5, "camera overrides", "isrcore_cfht")
    with pytest.raises(ConfigError, match=r"overscan\.order"):
        config.overscan.order = "high"


@pytest.mark.parametrize("target", ["isrcore_unknown:Level", QaConfig(), object, 3, None])
def test_retargeting_to_what_is_no_target_is_refused(target: object) -> None:
    config = IsrConfig()
    with pytest.raises(ConfigError, match=target_name(Level)):
        config.overscan.retarget(target)
    assert config == IsrConfig()


def test_history_remembers_value_layer_and_author() -> None:
    config = IsrConfig()
    with config.layer("camera overrides", "isrcore_cfht"):
        config.doDark = False
        config.overscan.fitType = "MEAN"
    config.doDark = True
    config.set("doDark", False, layer="command line", who="-c doDark=false")
    assert config.history("doDark") == (
        Change(True, "default", f"{__name__}.IsrConfig"),
        Change(False, "camera overrides", "isrcore_cfht"),
        Change(True, "user", "assignment"),
        Change(False, "command line", "-c doDark=false"),
    )
    assert config.origin("overscan.fitType") == Change("MEAN", "camera overrides", "isrcore_cfht")
    with pytest.raises(ConfigError, match="group of fields"):
        config.history("overscan")


def test_a_layer_ends_with_its_block_even_after_an_error() -> None:
    config = IsrConfig()
    with pytest.raises(ConfigError), config.layer("camera overrides", "isrcore_cfht"):
        config.doDark = "no"
    config.doDark = False
    assert config.origin("doDark").layer == "user"


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("doBias", "no", False),
        ("doBias", "1", True),
        ("meshSize", "128", 128),
        ("overscan.numSigmaClip", "4.5", 4.5),
        ("overscan.fitType", "MEAN", "MEAN"),
        ("overscan.implementation", target_name(Spline), target_name(Spline)),
        ("fwhm", "none", None),
        ("fallbackFilterName", "None", None),
        ("fallbackFilterName", "r", "r"),
        ("planes", "SAT, CR", ["SAT", "CR"]),
        ("planes", '["SAT", "A,B"]', ["SAT", "A,B"]),
        ("planes", "", []),
        ("sizes", "5,7", [5, 7]),
        ("corner", "[3, 4]", (3, 4.0)),
        ("fluxMag0T1", "{g = 1.0, r = 2}", {"g": 1.0, "r": 2.0}),
    ],
)
def test_command_line_text_is_read_by_the_type_of_the_field(name: str, text: str, value: object) -> None:
    config = IsrConfig()
    config.set_text(name, text, "command line", "-c")
    assert config.get(name) == value
    assert config.origin(name) == Change(value, "command line", "-c")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("doBias", "maybe"),
        ("meshSize", "1.5"),
        ("sizes", "1,x"),
        ("planes", "[SAT]"),
        ("fluxMag0T1", "g=1"),
        ("doBias", "none"),
        ("qa", "none"),
        ("overscan", "MEAN"),
    ],
)
def test_command_line_text_that_cannot_be_read_is_an_error(name: str, text: str) -> None:
    with pytest.raises(ConfigError, match=name):
        IsrConfig().set_text(name, text, "command line", "-c")


def test_a_file_sets_values_and_leaves_its_lines_in_the_history(tmp_path: Path) -> None:
    path = write(
        tmp_path / "night.toml",
        'doDark = false\nfwhm = "none"\n[ overscan ] # a table\nnumSigmaClip = 4\nimplementation = '
        f'"{target_name(SameLevel)}"\n[fluxMag0T1]\ng = 5.0\n',
    )
    config = IsrConfig()
    config.load(path)
    assert config.origin("doDark") == Change(False, "file", f"{path}:1")
    assert config.origin("overscan.numSigmaClip") == Change(4.0, "file", f"{path}:4")
    assert config.overscan.target is SameLevel
    assert config.fwhm is None
    assert config.fluxMag0T1 == {"g": 5.0}


def test_a_file_with_errors_reports_all_and_changes_nothing(tmp_path: Path) -> None:
    path = write(
        tmp_path / "bad.toml",
        "doDark = false\ndoBais = false\nqa = 3\n"
        '[overscan]\nfitType = "MEDAN"\nnumSigmaClip = "high"\n[oops]\na = 1\n',
    )
    config = IsrConfig()
    with pytest.raises(ConfigError) as caught:
        config.load(path)
    for wanted in (
        "5 problems",
        f"{path}:2",
        "doBias",
        "'qa'",
        f"{path}:5",
        "MEDIAN",
        "numSigmaClip",
        "oops",
    ):
        assert wanted in str(caught.value)
    assert config == IsrConfig()
    assert len(config.history("doDark")) == 1


def test_a_file_chooses_an_implementation_before_it_sets_its_fields(tmp_path: Path) -> None:
    text = f'[overscan]\norder = 5\nimplementation = "{target_name(Spline)}"\n'
    config = IsrConfig()
    config.load(write(tmp_path / "spline.toml", text))
    assert config.overscan.order == 5


def test_a_file_chooses_only_among_candidates(tmp_path: Path) -> None:
    path = write(tmp_path / "bad.toml", '[overscan]\nimplementation = "os:system"\n')
    with pytest.raises(ConfigError, match="os:system"):
        IsrConfig().load(path)


def test_a_file_that_is_no_toml_or_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"bad\.toml.*line 1"):
        IsrConfig().load(write(tmp_path / "bad.toml", "doDark = = 1"))
    with pytest.raises(ConfigError, match=r"missing\.toml"):
        IsrConfig().load(tmp_path / "missing.toml")


def test_a_key_that_also_appears_in_a_long_string_has_no_line(tmp_path: Path) -> None:
    path = write(tmp_path / "long.toml", 'fallbackFilterName = """\ndoDark = 1\n"""\ndoDark = false\n')
    config = IsrConfig()
    config.load(path)
    assert config.origin("doDark").who == str(path)


def test_the_written_file_explains_itself() -> None:
    text = IsrConfig().to_toml()
    assert text.startswith("# Subtract the bias.\n# (bool)\ndoBias = true\n")
    assert 'fallbackFilterName = "none"\n' in text
    assert "saturation = nan\n" in text
    assert f'# Overscan level.\n[overscan]\nimplementation = "{target_name(Level)}"\n' in text


def test_a_frozen_config_refuses_every_change(tmp_path: Path) -> None:
    config = IsrConfig()
    config.freeze()
    with config.layer("camera overrides", "isrcore_cfht"), pytest.raises(ConfigError) as caught:
        config.overscan.fitType = "MEAN"
    for wanted in ("overscan.fitType", "MEAN", "frozen", "isrcore_cfht"):
        assert wanted in str(caught.value)
    with pytest.raises(ConfigError, match="frozen"):
        config.overscan.retarget(Spline)
    with pytest.raises(ConfigError, match="frozen"):
        config.load(write(tmp_path / "a.toml", "doDark = false\n"))
    with pytest.raises(ConfigError, match="frozen"):
        pickle.loads(pickle.dumps(config)).doDark = False
    assert config == IsrConfig()


def test_a_copy_is_independent_and_not_frozen() -> None:
    config = IsrConfig(doDark=False)
    config.freeze()
    twin = config.copy()
    twin.overscan.fitType = "MEAN"
    assert config.overscan.fitType == "MEDIAN"
    assert twin.history("doDark") == config.history("doDark")


def test_a_copied_section_does_not_report_to_the_original() -> None:
    config = IsrConfig()
    part = config.overscan.value.copy()
    with config.layer("camera overrides", "isrcore_cfht"):
        part.fitType = "MEAN"
    assert part.origin("fitType").layer == "user"
    assert config.overscan.fitType == "MEDIAN"


def test_validation_reports_all_problems_of_all_levels() -> None:
    class Outer(IsrConfig):
        inner: IsrConfig = subconfig(IsrConfig, "Another.")

    config = Outer(doBias=False)
    config.inner.doBias = False
    with pytest.raises(ConfigError) as caught:
        config.validate()
    assert "2 problems" in str(caught.value)
    assert "inner: 'doDark' needs 'doBias'" in str(caught.value)
    IsrConfig().validate()


def test_compare_reports_every_difference() -> None:
    mine, theirs = IsrConfig(), IsrConfig()
    theirs.doBias = False
    theirs.planes = ["SAT", "CR"]
    theirs.sizes = [1]
    theirs.fwhm = None
    theirs.saturation = math.inf
    theirs.fluxMag0T1 = {"r": 1e11 + 1.0, "g": 1.0}
    theirs.overscan.retarget(Spline)
    assert mine.compare(theirs) == [
        "doBias: True here, False there",
        "saturation: nan here, inf there",
        "fwhm: 1.0 here, None there",
        "planes[1]: 'BAD' here, 'CR' there",
        "sizes: [3, 30] here, [1] there",
        "fluxMag0T1['g']: only there",
        f"overscan.implementation: '{target_name(Level)}' here, '{target_name(Spline)}' there",
        "overscan.fitType: only here",
        "overscan.numSigmaClip: only here",
        "overscan.order: only there",
    ]


def test_compare_is_tolerant_of_rounding_and_strict_about_class() -> None:
    class OtherConfig(IsrConfig):
        pass

    assert IsrConfig(fwhm=1.0 + 1e-9).compare(IsrConfig()) == []
    assert IsrConfig(fwhm=1.0 + 1e-9) != IsrConfig()
    assert IsrConfig(fwhm=1.0 + 1e-7).compare(IsrConfig()) == ["fwhm: 1.0000001 here, 1.0 there"]
    assert IsrConfig(saturation=1.0).compare(IsrConfig(saturation=math.inf)) != []
    assert IsrConfig().compare(OtherConfig()) == ["class: IsrConfig here, OtherConfig there"]
    assert IsrConfig() != OtherConfig()


def test_names_and_descriptions_serve_the_documentation() -> None:
    config = IsrConfig()
    names = list(config.names())
    assert names[:2] == ["doBias", "doDark"]
    assert names[-4:] == [
        "overscan.implementation",
        "overscan.fitType",
        "overscan.numSigmaClip",
        "qa.saveStats",
    ]
    config.overscan.numSigmaClip = 9.0
    info = config.describe("overscan.numSigmaClip")
    assert (info.doc, info.type, info.default) == ("Rejection threshold, in sigma.", "float", 3.0)
    assert (info.constraint, info.where) == (">= 0.0", f"{__name__}.LevelConfig")
    assert config.describe("meshSize").constraint == "an even number"
    assert target_name(Spline) in config.describe("overscan.implementation").constraint
    assert config.describe("qa").type == "QaConfig"


def test_a_config_shows_what_differs_from_the_defaults() -> None:
    config = IsrConfig(doDark=False)
    config.overscan.fitType = "MEAN"
    assert repr(config) == "IsrConfig(doDark=False, overscan.fitType='MEAN')"
    assert repr(config.overscan) == f"ConfigSection({target_name(Level)}, LevelConfig(fitType='MEAN'))"
