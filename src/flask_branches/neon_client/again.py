"""What is worth another try, and what to say when there is no patience left for one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask_branches.errors import NeonError

if TYPE_CHECKING:
    from flask_branches.neon_client.deadlines import Deadline


class TryAgain(Exception):
    """A request that was not served, for a reason that passes; never leaves the package.

    Attributes:
        what: what was asked, in plain words.
        last: what became of it, as the end of a sentence.
        remedy: what the user can do where no try helps.
        lost: whether the work may have been done nevertheless.
        status: the answer's HTTP status; None where there was none.
        code: what Neon calls it.
        request_id: what the request is known by.
        wait: the seconds that the answer asks to wait; None where it does not.
    """

    def __init__(
        self,
        what: str,
        last: str,
        remedy: str,
        *,
        lost: bool,
        status: int | None = None,
        code: str = "",
        request_id: str | None = None,
        wait: float | None = None,
    ) -> None:
        super().__init__(last)
        self.what, self.last, self.remedy = what, last, remedy
        self.lost, self.status, self.wait = lost, status, wait
        self.code, self.request_id = code, request_id

    @property
    def is_unreached(self) -> bool:
        """Whether the request never came to anybody."""
        return self.status is None and not self.lost

    def given_up(self, deadline: Deadline, *, repeats: bool) -> NeonError:
        """The error that it is in the end.

        Args:
            deadline: of the call.
            repeats: whether stamina repeats at all in this process.
        """
        if not repeats:
            when = f"at the first try, and stamina's repeats are switched off in this process: {self.last}"
        elif self.wait is not None and self.wait > deadline.left:
            when = f"and asks to wait {self.wait:.0f} s, longer than there is patience ({deadline.patience:g} s): "
            when += self.last
        else:
            when = f"though it was tried for {deadline.spent:.1f} s: {self.last}"
        return NeonError(
            f"Neon did not {self.what}, {when}. {self.remedy}",
            status=self.status,
            code=self.code,
            request_id=self.request_id,
        )
