"""Which of a session's teachers each agent of its instance asks."""

from __future__ import annotations

from collections.abc import Sequence

from precision_shaking.sape.instances.declaration import ROLES, Instance
from precision_shaking.sape.resuming import teacher_text
from precision_shaking.sape.teachers import Teacher, TeacherError


def pools_of(instance: Instance, teachers: Sequence[Teacher]) -> dict[str, Sequence[Teacher]]:
    """Each agent's teachers: all of the session's, or those of them that its declaration names.

    No others: a declaration may come with somebody else's workspace, and must not choose who reads the user's
    text or gets their keys. A model of the user's own stands before the worker's, and in no other pool.

    Raises:
        TeacherError: A declaration names one that the session does not have.
    """
    own = [teacher for teacher in teachers if teacher.access.worker_only]
    others = [teacher for teacher in teachers if not teacher.access.worker_only]
    known = {teacher_text(teacher.access): teacher for teacher in (*own, *others)}
    pools: dict[str, Sequence[Teacher]] = {}
    for place in ROLES:
        names = instance.agents[place].teachers if place in instance.agents else ()
        if missing := [name for name in names if name not in known]:
            raise TeacherError(
                f"The instance {instance.name} wants {missing[0]} as its {place}: add it to your teachers."
            )
        pools[place] = [known[name] for name in names] or others
    first = {teacher_text(teacher.access) for teacher in own}
    behind = [teacher for teacher in pools["worker"] if teacher_text(teacher.access) not in first]
    return {**pools, "worker": [*own, *behind]}
