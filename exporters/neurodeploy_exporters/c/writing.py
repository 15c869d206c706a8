"""The text of a program's C files."""

from importlib.resources import files as resources

from neurodeploy.graph import ops
from neurodeploy_exporters.c.file import CFile, StepCount, arena
from neurodeploy_exporters.c.names import comment, literal
from neurodeploy_exporters.c.program import CProgram
from neurodeploy_exporters.c.tensors import CTensor, element


def source(name: str) -> str:
    """A C file of this package."""
    return (resources("neurodeploy_exporters.c") / "sources" / name).read_text(encoding="utf-8")


def files_of(program: CProgram, name: str) -> dict[str, str]:
    """Name → text, of a program that lacks its files.

    Args:
        program: see there.
        name: of the network, for comments.
    """
    files = {"model.h": _header(program, name), "support.h": source("support.h")}
    for unit in program.units:
        files[f"{unit.part}.c"] = _source(program, unit)
    files["model.c"] = _whole(program)
    return files


def _header(program: CProgram, name: str) -> str:
    entrance, answer = program.entrance.tensor, program.answer
    kind = element(entrance.type)
    logit = "float" if answer.type == "float" else "int32_t"
    scale = literal(2.0**-answer.grid.exponent)
    unit = 2.0**-entrance.grid.exponent
    many = "32 values to a word, the first in the lowest bit; " if entrance.type == "bits" else f"a value x is x / {unit:g}; "
    shape, least = "x".join(map(str, entrance.shape)), 0 if entrance.type == "bits" else -entrance.grid.largest
    order = "channels last" if len(entrance.shape) > 1 else "in order"
    most = ", at most" if program.steps_vary else ""
    lines = [
        f"/* {comment(name)}: a spiking network in integers, written by neurodeploy. */"
        if program.graph.spiking
        else f"/* {comment(name)}, written by neurodeploy. */",
        "#ifndef MODEL_H",
        "#define MODEL_H",
        "",
        "#include <stdint.h>",
        "",
        "#ifdef __cplusplus",
        'extern "C" {',
        "#endif",
        "",
        f"/* Time steps of a sample{most}, for which all ranges are proved: a step more is refused until the next reset. */",
        f"#define MODEL_STEPS {program.steps}",
        f"#define MODEL_TIMED {int(program.entrance.timed)}",
        f"/* Of one input: shape {shape}, {order}, {many}from {least} to {entrance.grid.largest}. */",
        f"#define MODEL_INPUT_SIZE {entrance.elements}",
        f"typedef {kind} model_input_t;",
        f"#define MODEL_CLASSES {answer.size}",
        f"typedef {logit} model_logit_t;",
        *_meaning(program.divisor, scale),
        "",
    ]
    fields = [f"    {element(t.type)} {_name(program, t)}[{t.elements}];" for t in program.crossing]
    if len(program.units) > 1:
        lines += [
            "/* What the head reads of the body in a step; spikes 32 to a word. */",
            "typedef struct {",
            *fields,
            "} model_spikes_t;",
            "",
        ]
    for part in program.units:
        states = [f"    {kind} {state}[{count}];" for kind, state, count, _ in part.states]
        arenas = [f"    {kind} {arena(kind)}[{count}];" for kind, count in sorted(part.arenas.items())]
        lines += ["typedef struct {", "    int32_t step;", *states, *arenas, f"}} model_{part.part}_t;", ""]
    members = [f"    model_{part.part}_t {part.part};" for part in program.units]
    members += ["    model_spikes_t spikes;"] if len(program.units) > 1 else []
    lines += [
        "/* All that a network keeps; as many as there is memory for do not disturb one another. */",
        "typedef struct {",
        *members,
        "} model_t;",
        "",
    ]
    lines += _prototypes(program)
    lines += ["", "#ifdef __cplusplus", "}", "#endif", "", "#endif"]
    return "\n".join(lines) + "\n"


def _meaning(divisor: StepCount | None, scale: str) -> list[str]:
    if divisor is None:
        return ["/* What a logit stands for. */", f"#define MODEL_LOGIT(n) ((float)(n) * {scale})"]
    if divisor.fixed is not None:
        return ["/* What a logit stands for. */", f"#define MODEL_LOGIT(n) ((float)(n) * {scale} / {divisor.text})"]
    count = f"(float)((steps) - {divisor.skip})"
    return [
        "/* What a logit stands for after so many steps. */",
        f"#define MODEL_LOGIT(n, steps) ((float)(n) * {scale} / {count})",
    ]


def _name(program: CProgram, tensor: CTensor) -> str:
    return program.units[0].names[tensor.buffer]


def _prototypes(program: CProgram) -> list[str]:
    spiking = len(program.units) > 1
    given = "const model_spikes_t *crossing" if spiking else "const model_input_t *input"
    lines = []
    if spiking:
        new = "in each step" if program.entrance.timed else "in the first step, and 0 in those after it"
        lines += [
            "/* Begin a sample. */",
            "void model_body_reset(model_body_t *m);",
            f"/* One time step; the input is given {new}. 0, or -1 after MODEL_STEPS steps, or without an input. */",
            "int model_body_step(model_body_t *m, const model_input_t *input, model_spikes_t *crossing);",
        ]
    lines += [
        "/* The head, which may run elsewhere. */",
        "void model_head_reset(model_head_t *m);",
        f"int model_head_step(model_head_t *m, {given});",
        f"/* 0, or -1 {'before the first step that counts' if program.steps_vary else 'before MODEL_STEPS steps'}. */",
        "int model_head_answer(model_head_t *m, model_logit_t *logits);",
        "/* Both. */",
        "void model_reset(model_t *m);",
    ]
    if spiking:
        lines.append("int model_step(model_t *m, const model_input_t *input, model_spikes_t *spikes);")
    else:
        lines.append("int model_step(model_t *m, const model_input_t *input);")
    sequence = "MODEL_STEPS inputs, one after the other" if program.entrance.timed else "one input"
    if program.steps_vary:
        sequence = "so many inputs, one after the other"
    digests = [f"uint32_t model_{unit.part}_tables(void);" for unit in program.units]
    return [
        *lines,
        f"/* From {sequence}, to the logits; 0, or what model_step and model_head_answer say. */",
        f"{_infer(program)};",
        "#ifdef MODEL_SELFTEST",
        "/* Digests of all tables. */",
        *digests,
        "#endif",
    ]


def _infer(program: CProgram) -> str:
    steps = "int32_t steps, " if program.steps_vary else ""
    return f"int model_infer(model_t *m, const model_input_t *input, {steps}model_logit_t *logits)"


def _source(program: CProgram, unit: CFile) -> str:
    part, once, step, end = unit.part, unit.code("once"), unit.code("step"), unit.code("end")
    alone = len(program.units) == 1
    body = part == "body"
    given = "const model_input_t *input" if body or alone else "const model_spikes_t *crossing"
    lines = ['#include "model.h"', "", '#include "support.h"', ""]
    lines += [table.text for table in unit.constants]
    lines += [f"void model_{part}_reset(model_{part}_t *m) {{", "    m->step = 0;"]
    for _, name, count, initial in unit.states:
        value = "0" if initial is None else f"{part}_{name}_initial[i]"
        lines.append(f"    for (int32_t i = 0; i < {count}; i++) m->{name}[i] = {value};")
    lines += ["}", ""]
    out = ", model_spikes_t *crossing" if body else ""
    name = "input" if body or alone else "crossing"
    missing = f"{name} == 0" if name == "crossing" or program.entrance.timed else f"(m->step == 0 && {name} == 0)"
    lines += [f"int model_{part}_step(model_{part}_t *m, {given}{out}) {{"]
    lines.append(f"    if (m->step >= MODEL_STEPS || {missing}) return -1;")
    if once:
        lines += ["    if (m->step == 0) {", *("        " + line if line else "" for line in once), "    }"]
    lines += ["    " + line if line else "" for line in step]
    lines += [f"    (void){name};", "    (void)crossing;" if body else "", "    m->step++;", "    return 0;", "}"]
    if not body:
        pointer = unit.pointer(program.graph.output.name)
        answer = program.answer
        order = answer.order.tolist()
        enough = f"m->step <= {_skipped(program)}" if program.steps_vary else "m->step < MODEL_STEPS"
        lines += ["", f"int model_{part}_answer(model_{part}_t *m, model_logit_t *logits) {{", f"    if ({enough}) return -1;"]
        lines += ["    " + line if line else "" for line in end]
        source = program.units[-1].tensors[program.graph.output.name]
        lines += ["    {", f"        const {element(source.type)} *in = {pointer};"]
        if order == list(range(answer.size)):
            lines.append(f"        for (int32_t i = 0; i < {answer.size}; i++) logits[i] = {source.read('in', 'i')};")
        else:
            lines += [f"        logits[{logical}] = {source.read('in', str(place))};" for place, logical in enumerate(order)]
        lines += ["    }", "    return 0;", "}"]
    lines += _digest(unit)
    return "\n".join(line for line in lines if line is not None) + "\n"


def _skipped(program: CProgram) -> int:
    """The steps after which there is an answer, less one."""
    return max((node.skip for node in program.graph.of(ops.TimeMeanNode)), default=0)


def _digest(unit: CFile) -> list[str]:
    """A function of the self-test that says whether all tables are what was written."""
    lines = [f"uint32_t model_{unit.part}_tables(void) {{", "    uint32_t digest = 2166136261u;"]
    for table in unit.constants:
        if table.type == "float":
            value, bits = ["        union { float value; uint32_t bits; } x;", f"        x.value = {table.name}[i];"], "x.bits"
        else:
            value, bits = [f"        const int32_t x = {table.name}[i];"], "(uint32_t)x"
        lines += [f"    for (int32_t i = 0; i < {table.values.size}; i++) {{", *value]
        lines += [f"        digest = (digest ^ {bits}) * 16777619u;", "    }"]
    return ["", "#ifdef MODEL_SELFTEST", *lines, "    return digest;", "}", "#endif"]


def _whole(program: CProgram) -> str:
    spiking = len(program.units) > 1
    lines = ['#include "model.h"', "", "void model_reset(model_t *m) {"]
    lines += [f"    model_{unit.part}_reset(&m->{unit.part});" for unit in program.units]
    lines += ["}", ""]
    if spiking:
        copies = []
        for tensor in program.crossing:
            field = _name(program, tensor)
            copies.append(f"    for (int32_t i = 0; i < {tensor.elements}; i++) spikes->{field}[i] = m->spikes.{field}[i];")
        lines += [
            "int model_step(model_t *m, const model_input_t *input, model_spikes_t *spikes) {",
            "    if (model_body_step(&m->body, input, &m->spikes) != 0) return -1;",
            "    if (model_head_step(&m->head, &m->spikes) != 0) return -1;",
            "    if (spikes == 0) return 0;",
            *copies,
            "    return 0;",
            "}",
            "",
        ]
    else:
        lines += [
            "int model_step(model_t *m, const model_input_t *input) {",
            "    return model_head_step(&m->head, input);",
            "}",
            "",
        ]
    given = "input + t * MODEL_INPUT_SIZE" if program.entrance.timed else "t == 0 ? input : 0"
    lines += [
        f"{_infer(program)} {{",
        "    model_reset(m);",
        f"    for (int32_t t = 0; t < {'steps' if program.steps_vary else 'MODEL_STEPS'}; t++)",
        f"        if (model_step(m, {given}{', 0' if spiking else ''}) != 0) return -1;",
        "    return model_head_answer(&m->head, logits);",
        "}",
    ]
    return "\n".join(lines) + "\n"
