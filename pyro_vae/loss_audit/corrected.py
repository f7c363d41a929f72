"""A loss per image as PyTorch source to paste."""

from __future__ import annotations

import math
import re

from pyro_vae.loss_audit.binding import Binding
from pyro_vae.loss_audit.formulas import LOG_VARIANCE, SCALES, Form
from pyro_vae.loss_audit.mending import Plan
from pyro_vae.loss_audit.wording import ROLES, scale_of

__all__: list[str] = []

_NAMES = {"log-variance": "log_var", "log-std": "log_std", "variance": "variance", "std": "std"}
_FUNCTIONAL = "from torch.nn import functional as F"


def corrected_source(binding: Binding, plan: Plan, indices: bool = False) -> str:
    """Write -ELBO per image: summed over pixels and latents, averaged over images.

    Args:
        binding: Names and order of the arguments.
        plan: What to write.
        indices: x holds indices of classes, and not the shape of x_hat.
    """
    x, x_hat, mean = (binding.argument(role) for role in ROLES[:3])
    last = _last(binding, plan.form)
    names = dict(zip(ROLES, (x, x_hat, mean, last), strict=True))
    roles = [what for _, what in binding.order if what in ROLES]
    order = [names[role] for role in (*roles, *(r for r in ROLES if r not in roles))]
    setup, term, needs = _term(plan, x, x_hat)
    scale, log_var = _log_var(plan, last)
    divergence = _divergence(plan.form, mean, log_var)
    weight = plan.name if plan.multiplier == 1 else f"{plan.multiplier:.6g} * {plan.name}"
    if any("F." in line for line in (*scale, term)):
        needs += [_FUNCTIONAL]
    if "math." in divergence:
        needs += ["import math"]
    shape = plan.shape
    nll = f"nll.reshape(len({x_hat}), -1).sum(1)" if plan.kind.axis else "nll.flatten(1).sum(1)"
    if shape.behaviour == "linear":
        ending = [
            f"    loss = {nll} + {weight} * divergence.flatten(1).sum(1)",
            "    return loss.mean()",
        ]
    else:
        ending = [
            f"    divergence = {shape.source()}",
            f"    return {nll}.mean() + {weight} * divergence",
        ]
    lines = [
        *_imports(needs),
        "",
        "",
        f"def loss_function({', '.join(order)}, {plan.name}={plan.weight:g}):",
        '    """-ELBO per image: summed over pixels and latents, averaged over images."""',
        *([] if indices else [f"    {x} = {x}.reshape({x_hat}.shape)"]),
        *setup,
        *scale,
        f"    nll = {term}",
        f"    divergence = {divergence}",
        *ending,
    ]
    return "\n".join(line for line in lines) + "\n"


def _imports(needs: list[str]) -> list[str]:
    lines = sorted({line for need in needs for line in need.splitlines() if line})
    plain = [line for line in lines if line.startswith("import")]
    others = [line for line in lines if not line.startswith("import")]
    return [*plain, *([""] if plain and others else []), *others]


def _last(binding: Binding, form: Form) -> str:
    """The argument's own name, unless it says something else than the KL takes it for."""
    own = binding.argument("log_var")
    said = scale_of(own)
    if form.of.plain and (said or "log-variance") != form.of.name:
        return _NAMES[form.of.name]
    if not form.of.plain and said is not None:
        return "raw"
    return own


def _log_var(plan: Plan, last: str) -> tuple[list[str], str]:
    of = plan.form.of
    text = of.source.format(s=last)
    low, high = plan.clamp or (-math.inf, math.inf)
    if plan.clamp is not None:
        ends = [f"min={low:g}"] if low > -math.inf else []
        ends += [f"max={high:g}"] if high < math.inf else []
        text = f"{text if text.isidentifier() else f'({text})'}.clamp({', '.join(ends)})"
    if text == last:
        return [], last
    name = last if of is LOG_VARIANCE else "log_var"
    return [f"    {name} = {text}"], name


def _divergence(form: Form, mean: str, log_var: str) -> str:
    center, variance = form.prior
    square = f"{mean}.pow(2)" if center == 0 else f"({mean} - {center:.6g}).pow(2)"
    if center < 0:
        square = f"({mean} + {-center:.6g}).pow(2)"
    if variance == 1:
        return f"0.5 * ({square} + {log_var}.exp() - 1 - {log_var})"
    both = f"({square} + {log_var}.exp()) / {variance:.6g}"
    return f"0.5 * ({both} - 1 - {log_var} + math.log({variance:.6g}))"


def _term(plan: Plan, x: str, x_hat: str) -> tuple[list[str], str, list[str]]:
    kind = plan.kind
    if kind.robust:
        setup = [f"    pixel_variance = {0.5 / plan.constant:.6g}"]
        return setup, f"{kind.source.format(x=x, x_hat=x_hat)} / pixel_variance", [kind.needs]
    if not kind.norm:
        return [], kind.source.format(x=x, x_hat=x_hat), [kind.needs]
    output, target = kind.output.format(x_hat=x_hat), kind.target.format(x=x)
    if not re.fullmatch(r"[\w.()]+", output):
        output = f"({output})"
    if kind.norm == 1:
        spread = 1 / plan.constant
        setup = [f"    pixel_b = {spread:.6g}  # best: your reconstructions' mean absolute error"]
        term = f"({output} - {target}).abs() / pixel_b + math.log(2 * pixel_b)"
        return setup, term, ["import math"]
    spread = math.sqrt(0.5 / plan.constant)
    return (
        [
            f"    pixel_sigma = {spread:.6g}  # best: the RMSE of your reconstructions",
            f"    residual = ({output} - {target}) / pixel_sigma",
        ],
        "residual.pow(2) / 2 + math.log(pixel_sigma * math.sqrt(2 * math.pi))",
        ["import math"],
    )


assert set(_NAMES) == {scale.name for scale in SCALES}
