"""What the names of a loss's parameters say: roles, scales, weights, other things to pass."""

from __future__ import annotations

import re
from typing import Literal

__all__: list[str] = []

Role = Literal["x", "x_hat", "mean", "log_var"]
Parametrisation = Literal["log-variance", "log-std", "variance", "std"]

ROLES: tuple[Role, ...] = ("x", "x_hat", "mean", "log_var")

_SCALE_WORDS = {"std", "stds", "stddev", "stdev", "sigma", "sigmas", "scale", "scales", "sd"}
_MEAN_WORDS = {"mu", "mus", "mean", "means", "loc", "zmean", "zmu", "average"}
_X_HAT_WORDS = re.compile(
    r"hat$|^x?recons?|recon|^rec(s|on)?$|decod|^preds?$|predict|logit|tilde|prime|^outp?u?t?s?$"
    r"|^gen(erated)?$|^fakes?$|^synth|^imputed$|^xr$|^restored$|^samples?$"
)
_WEAK_X_HAT = re.compile(r"^outp?u?t?s?$|^samples?$")
_X_WORDS = re.compile(
    r"^(x|xs|data|batch|inputs?|in|inp|targets?|tgt|images?|imgs?|reals?|truth|true|gt|obs|observed"
    r"|labels?|adj|clean|src|source|features?|ground|counts?|samples?|tokens?|actions?|y)$|orig"
)
_WEAK_X = re.compile(r"^(y|samples?|batch|labels?|features?|actions?)$")
#: Words for the whole of what a model returns.
_WHOLE = re.compile(
    r"^(args|inputs?|outputs?|out|outs|results?|ret|preds?|predictions?|batch|losses|model_outputs?"
    r"|model_out|vae_outputs?|vae_out|pred_dict|output_dict|outputs_dict|values|tensors|stats"
    r"|params|z_params|q_params|latents?|encoded|dist_params|moments)$"
)
_POSTERIOR = re.compile(r"posterior|(^|_)(dist|distribution|q|qz|q_z|qz_x|q_z_x|gaussian)$")
#: Words of a weight of the KL, and words that say of nothing what they weigh.
_KL_WORDS = {"beta", "betas", "kl", "kld", "kldiv", "klw", "divergence", "prior", "anneal",
             "annealing", "lkl"}  # fmt: skip
_WEIGHT_WORDS = {"alpha", "gamma", "lambda", "lambd", "lam", "coeff", "coef", "coefficient",
                 "weight", "weights", "w", "warmup", "warm", "factor", "scale", "m",
                 "n"}  # fmt: skip
#: Words of a schedule, a threshold or a target: what they change need not show.
_SCHEDULE = {
    *("epoch", "epochs", "step", "steps", "iter", "iters", "cycle", "cycles", "start", "end"),
    *("tolerance", "tol", "free", "bits", "threshold", "target", "capacity", "min", "max", "stop"),
    *("ratio", "margin", "floor", "rate", "type", "mode"),
}
_TIME = re.compile(r"^(epoch|epochs|step|steps|iter|iters|iteration|global_step|it|t|cur_epoch"
                   r"|current_epoch|n_iter|num_updates|update_num)$")  # fmt: skip
_MASK = re.compile(r"mask|(^|_)pad(ding)?(_|$)|^is_pad$")
_SAMPLE = re.compile(r"^(z|zs|z_sample|z_sampled|sampled_z|latent_sample|latent_samples)$")
_BATCH = re.compile(r"^(batch_size|bs|bsz|n_batch|batchsize|num_samples_in_batch)$")


def words(name: str) -> list[str]:
    """The words of a name in snake_case or camelCase, in lower case, without digits at the end."""
    parted = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name)
    parts = [part.rstrip("0123456789") or part for part in parted.lower().split("_")]
    return [part for part in parts if part]


def scale_of(name: str) -> Parametrisation | None:
    """What a name says that a scale argument is, if anything."""
    plain = name.lower().strip("_")
    squared = re.search(
        r"variance|(^|_|log|z)var(s|iance)?(_|$|\d)|sigma_?x?_?2|sigma_?sq|std_?2", plain
    )
    if re.search(r"log|(^|_)ln_", plain) and squared:
        return "log-variance"
    if re.search(r"log.*(std|sig|scale|sd)", plain):
        return "log-std"
    if squared and not re.search(r"input|target|output|recon", plain):
        return "variance"
    return "std" if _SCALE_WORDS & set(words(plain)) else None


def scores(name: str) -> dict[Role, int]:
    """How well a name fits each role: 3 says it, 1 or 2 hint at it, 0 says nothing."""
    found = words(name)
    plain = name.lower().strip("_")
    joined = "".join(found)
    output = max((2 if _WEAK_X_HAT.search(w) else 3 for w in found if _X_HAT_WORDS.search(w)),
                 default=0)  # fmt: skip
    if name.endswith("_") and not name.startswith("_") and len(found) == 1:
        output = max(output, 2)
    scale = 3 if scale_of(name) else 2 if joined in ("lv", "zlv", "rho", "logs", "lsgms") else 0
    mean = 3 if _MEAN_WORDS & set(found) or re.fullmatch(r"z?(mu|mean)s?", joined) else 0
    if joined in ("m", "zm"):
        mean = 2
    data = max((1 if _WEAK_X.search(w) else 3 for w in found if _X_WORDS.search(w)), default=0)
    if plain == "y" or joined == "y":
        output, data = max(output, 1), 1
    if output and data:
        data = 0 if output == 3 and found != ["x"] else data
        if name.endswith("_") or "sample" in joined:
            data = min(data, 1)
    if mean and output:
        decoded = re.search(r"decod|recon", plain)
        mean, output = (1, 3) if decoded else (mean, 1)
    elif mean and data:
        # x_mu: the decoder's mean, or the code's given x.
        mean, output, data = 2, 2, 0
    if scale:
        output, data, mean = min(output, 1), 3 if data == 3 and scale < 3 else 0, 0
    return {"x": data, "x_hat": output, "mean": mean, "log_var": scale}


def role_of(name: str) -> Role | None:
    """The role that a name alone gives, if any."""
    found = scores(name)
    best = max(ROLES, key=lambda role: found[role])
    return best if found[best] else None


def weighs_kl(name: str) -> bool:
    """The name is that of a weight of the KL, or says of nothing what it weighs."""
    found = set(words(name))
    if found & _SCHEDULE:
        return False
    return bool(found & _KL_WORDS) or (
        bool(found) and found <= _WEIGHT_WORDS - {"m", "n", "warmup"}
    )


def says_kl(name: str) -> bool:
    """The name says that it weighs the KL."""
    found = set(words(name))
    return bool(found & _KL_WORDS) and not found & _SCHEDULE


def is_number(name: str) -> bool:
    """The name of a parameter without default is that of a weight or a count of steps."""
    found = set(words(name))
    return bool(found & (_KL_WORDS | _WEIGHT_WORDS)) or is_time(name)


def is_time(name: str) -> bool:
    """The name is that of an epoch or a step."""
    return bool(_TIME.match(name.lower()))


def other(name: str) -> str | None:
    """What else can be passed; None if the name says none of it.

    Returns:
        "mask", "pad", "z" or "batch"; for the prior's parameters "zeros" or "ones".
    """
    plain = name.lower().strip("_")
    if "prior" in words(name):
        scale = scale_of(name)
        if scale in ("std", "variance"):
            return "ones"
        return "zeros" if scale or scores(name)["mean"] else None
    if _MASK.search(plain):
        return "pad" if "pad" in plain else "mask"
    if _SAMPLE.match(plain):
        return "z"
    return "batch" if _BATCH.match(plain) else None


def beside(name: str) -> str | None:
    """What a fifth tensor gets: a decoder's own scale, or labels; None if it is neither."""
    found = set(words(name))
    scale = scale_of(name)
    if scale and found & {
        "x",
        "recon",
        "dec",
        "decoder",
        "out",
        "output",
        "pred",
        "p",
        "px",
        "gen",
    }:
        return "ones of x_hat" if scale in ("std", "variance") else "zeros of x_hat"
    labels = {"c", "cond", "condition", "conditions", "label", "labels", "y", "classes", "cls"}
    return "labels" if found & labels and len(found) <= 2 else None


def is_whole(name: str) -> bool:
    """The name may stand for several tensors at once."""
    return bool(_WHOLE.match(name.lower().strip("_")))


def is_posterior(name: str) -> bool:
    """The name is that of a distribution of the code."""
    return bool(_POSTERIOR.search(name.lower()))
