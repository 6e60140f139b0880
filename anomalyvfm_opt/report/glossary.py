"""The words of the tables and the linter's findings, in a sentence each. docs/numbers.md has the same words."""

from collections.abc import Sequence

from anomalyvfm_opt.errors import UsageError
from anomalyvfm_opt.words import ask_if_meant

WORDS = {
    "alpha": "how strongly an adapter's update counts: LoRA's is scaled by alpha / rank",
    "arm": "one of the three that a confirmation compares: frozen, baseline, finalist",
    "AUROC": "the share of pairs of a bad and a good image that the score puts in the right order, 0-1",
    "baseline": "the reference that the finalist has to beat: v1.1 unless the spec says otherwise",
    "budget": "how many trials a study may run; the references count against it",
    "change": "the best trial's value minus the baseline's, on search data: of one seed, the best of several",
    "confirmation": "finalist and baseline trained with fresh seeds, and scored once on the locked images",
    "could see": "the smallest true gain that this many scenes and seeds would have adopted in 4 of 5 cases",
    "counts from": "the least difference of a single trial from the baseline that is more than a seed",
    "finalist": "the parameters that won the race",
    "forecast": "a gain that somebody wrote down before the lock was opened",
    "frozen": "the backbone alone, without adapter and heads, scored without training",
    "heads": "decoder and predictor, trained on the frozen backbone where a trial has no adapter",
    "lock": "the labelled images that no trial of a search sees: half of the scenes, or all",
    "look": "one scoring of locked images; each is written down, and counted across studies",
    "luck of the best": "how far the best of so many trials lies above the baseline if none is better",
    "mix t/s/c": "shares of synthetic anomalies: texture, structural, contextual",
    "noise": "how far one more seed of the same parameters lies from their mean, in 95 % of cases",
    "p_normal": "the share of normal scenes, the held-out ones and this image, that score at least as high",
    "proxy": "image AUROC on synthetic anomalies, which a search goes by where no labelled image may be seen",
    "race": "the best parameter sets trained with fresh seeds, on search data",
    "rank": "in how many directions an adapter can change a layer's weight",
    "reference": "parameters that are run because others are compared with them: frozen, heads, v1.1, v1.2",
    "replicate": "a training of known parameters with another seed, in a study of its own beside the search",
    "scene": "what was photographed, in all lights and shots together; scenes are divided, never their images",
    "scorer": "what makes a score of an image's features: predictor, decoder, mahalanobis, patch_knn, or their"
    " ensemble",
    "search value": "a trial's image AUROC on search data",
    "shrinkage": "search value minus confirmed value: what luck and choosing had added",
    "threshold": "above it an image, or a pixel, is called anomalous: it promises a share of false positives",
    "v1.1, v1.2": "LoRA of rank 16, alpha 32, 10 epochs; the first experiment's rule for the rank",
}
# docs/linter.md has what is measured, and the limits
FINDINGS = {
    "inverted": "normal images score above anomalous ones by some scorer: another scorer as `scoring.objective`;"
    " see whether labels are swapped",
    "idle_adapter": "the adapter changed nothing to speak of: larger learning rates or alphas, or more epochs",
    "train_mode": "dropout or statistics were still learning while images were scored: put the whole detector into"
    " eval mode",
    "batch_dependence": "an image's score depends on its neighbours in the batch: find what is normalised over it",
    "prefix_differs": "kept outputs of frozen blocks are not those of the network: remove the folder `prefix` in"
    " the worker's cache",
    "constant_scores": "most images have the same score by some scorer: do not choose it as the objective",
    "unnormalised_input": "the backbone gets pixels in another scale than it was trained on: mend the"
    " normalisation",
    "not_finite": "scores or maps are not finite numbers: smaller learning rates",
    "frozen_moved": "the frozen backbone changed: find what trains it, or puts it into train mode",
    "singular_covariance": "too few images for the Gaussian of `mahalanobis`: more `scoring.fit_images`",
    "flat_loss": "the loss hardly fell: larger learning rates, or more steps",
}


def look_up(words: Sequence[str]) -> dict[str, str]:
    """Return the meaning of some words or findings, or of all of them.

    Args:
        words: in any case; empty for all.

    Raises:
        UsageError: a word is none of them.
    """
    known = {**WORDS, **FINDINGS}
    found = {word: _find(word) for word in words}
    unknown = [word for word, name in found.items() if name is None]
    if unknown:
        hint = ask_if_meant(unknown[0].strip().lower(), _list_parts()) or "all of them: anomalyvfm-opt glossary"
        raise UsageError(f"not in the glossary: {', '.join(map(repr, unknown))}", hint)
    return {name: known[name] for name in found.values() if name is not None} if words else known


def _list_parts() -> dict[str, str]:
    """Return the name of each word and finding, also by one of several that it is given with, in lower case."""
    return {part.strip().lower(): name for name in (*WORDS, *FINDINGS) for part in (name, *name.split(","))}


def _find(word: str) -> str | None:
    parts, lowered = _list_parts(), word.strip().lower()
    if lowered in parts:
        return parts[lowered]
    begun = [name for part, name in parts.items() if part.startswith(f"{lowered} ")]
    return begun[0] if len(begun) == 1 else None  # such as the head `mix t/s/c` by its first word
