"""The way from a finished search to a confirmation that is carried out, one step at a time.

Each call goes as far as it can and says what it waits for; ordinary workers do the training. It may be called
again at any time, by several people at once, and after any interruption: what is planned is planned once.

1. The search is over: its budget is used up, or it was stopped.
2. Replicates: the baseline's noise floor, the frozen network, and a race between the finalists, on search data.
3. The plan is written down: finalist, scorers, seeds, terms, and what every source predicts. In one transaction
   with it the trials of `#confirm` are planned, which alone may open the lock.
4. The confirmation: every arm is retrained with fresh seeds, and scored once on the locked images.

A call reads where things stand, decides (verdict/next_step.py), writes what was decided, and reads again.
"""

from dataclasses import replace

from anomalyvfm_opt.store.store import Store
from anomalyvfm_opt.store.studies import StudyRecord
from anomalyvfm_opt.verdict.next_step import PlanRound, Stage, Wishes, decide_next
from anomalyvfm_opt.verdict.read_confirmation import read_confirmation
from anomalyvfm_opt.verdict.write_plans import plan_replicates, plan_round


def advance(store: Store, study: StudyRecord, wishes: Wishes) -> Stage:
    """Take the confirmation of a study as far as the trials that are done allow.

    Args:
        store: the study store.
        study: that searches.
        wishes: of the person who calls.

    Raises:
        UsageError: nothing can be confirmed, or a wish contradicts what is written down.
    """
    added = 0
    while True:
        step = decide_next(read_confirmation(store, study, is_further=wishes.again), wishes)
        if isinstance(step, Stage):
            return replace(step, planned=added)
        if isinstance(step, PlanRound):
            planned = plan_round(store, study, step)
            state = read_confirmation(store, study, is_further=False)
            return replace(state.follow(step.number), planned=planned)
        added += plan_replicates(store, study, step.retrainings)
