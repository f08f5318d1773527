"""Work for bots: an agent's own bot asks for it, and answers or declines."""

from __future__ import annotations

import uuid
from datetime import datetime, timedelta
from functools import partial
from typing import Annotated, Self

from fastapi import APIRouter, Path, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from nightshift.base.limits import LONGEST_DELIVERY
from nightshift.memory.message import Message
from nightshift.runs.row import LONGEST_RUN_ID
from nightshift.web.api.views import View
from nightshift.web.guard import BODY_REFUSALS, AgentsBot
from nightshift.web.problems import may_answer
from nightshift.web.state import Web
from nightshift.work.pull import PulledWork

router = APIRouter(prefix="/work", tags=["bots"], responses=BODY_REFUSALS)
NOT_OURS = may_answer(
    {
        404: "there is no such work, or it is another agent's",
        409: "the claim is no longer the one that counts: stop, and say nothing",
    }
)
#: What was said last in the channel, given along with the work.
CONTEXT = 20
LONGEST_WAIT_S = 60
WorkPath = Annotated[str, Path(max_length=LONGEST_RUN_ID, description="the work's `run`")]


class ChannelNamed(View):
    """Where the work came from, and where the answer goes."""

    platform: str
    id: str


class MessageSaid(View):
    """A message of the channel; whoever wrote it chose every word and every name."""

    id: str
    user_id: str
    user_name: str
    text: str
    at: datetime
    origin: str


class WorkView(BaseModel):
    """Something to do, and until when it is the bot's own."""

    run: str
    token: int = Field(description="shown with renew, reply and decline")
    lease_s: float = Field(description="somebody else may do it after this, unless it is renewed")
    deadline_s: float = Field(description="and after this in any case")
    attempt: int
    agent: str
    channel: ChannelNamed
    cause: str = Field(description="why the agent is woken, as `heartbeat`")
    instruction: str = Field(description="what it is to do or to say")
    context: list[MessageSaid] = Field(description="what was said last in the channel, oldest first")

    @classmethod
    def of(cls, work: PulledWork, context: list[Message]) -> Self:
        row, assignment = work.row, work.assignment
        return cls(
            run=row.id,
            token=row.token,
            lease_s=work.lease.total_seconds(),
            deadline_s=row.deadline.total_seconds(),
            attempt=row.attempts + 1,
            agent=row.agent,
            channel=ChannelNamed.model_validate(assignment.channel),
            cause=assignment.cause,
            instruction=assignment.instruction,
            context=[MessageSaid.model_validate(each) for each in context],
        )


class Claim(BaseModel):
    """Which claim of the work this is about."""

    model_config = ConfigDict(extra="forbid")

    token: Annotated[int, Field(ge=1, lt=2**53)]


class Reply(Claim):
    """What the agent says."""

    text: Annotated[str, Field(min_length=1, max_length=LONGEST_DELIVERY)]


class Decline(Claim):
    """Why the agent says nothing."""

    reason: Annotated[str, Field(max_length=500)] = ""


class Held(BaseModel):
    """Whether to go on."""

    stop: str | None = Field(description="why to stop, if a person cancelled the work")


class Answered(BaseModel):
    """What became of the answer."""

    delivery: str
    by: str = Field(description="`us`, or `bot`: then it is among the deliveries to pull")
    state: str = Field(description="`requested`, or `suppressed` in shadow")


class Declined(BaseModel):
    """That the work has ended without a word."""

    run: str


@router.get(
    "",
    summary="Ask for something to do, and wait for it",
    response_model=WorkView,
    responses={204: {"description": "there was nothing to do; ask again"}},
)
async def ask(
    request: Request,
    bot: AgentsBot,
    wait: Annotated[float, Query(ge=0, le=LONGEST_WAIT_S, description="seconds, at the most")] = 30,
) -> WorkView | Response:
    """The work is claimed: renew it within its lease while you think, then reply or decline."""
    web = Web.of(request)
    look = partial(web.here.work.pull.claim, bot.agent, by=bot.name, call=uuid.uuid4().hex)
    work = await web.waiting.until_found(request, bot.agent, timedelta(seconds=wait), look)
    if work is None:
        return Response(status_code=204)
    return WorkView.of(work, await web.here.memory.messages.last(work.assignment.channel, CONTEXT))


@router.post("/{run:path}/renew", summary="Keep work while the bot thinks", responses=NOT_OURS)
async def renew(request: Request, bot: AgentsBot, run: WorkPath, claim: Claim) -> Held:
    return Held(stop=await Web.of(request).here.work.pull.renew(bot.agent, run, claim.token))


@router.post("/{run:path}/reply", summary="Answer, where the work came from", responses=NOT_OURS)
async def reply(request: Request, bot: AgentsBot, run: WorkPath, said: Reply) -> Answered:
    """Safe to repeat; the answer is given once."""
    delivery = await Web.of(request).here.work.pull.reply(bot.agent, run, said.token, said.text)
    return Answered(delivery=delivery.id, by=delivery.by, state=delivery.state)


@router.post("/{run:path}/decline", summary="End work without a word", responses=NOT_OURS)
async def decline(request: Request, bot: AgentsBot, run: WorkPath, declined: Decline) -> Declined:
    await Web.of(request).here.work.pull.decline(bot.agent, run, declined.token, declined.reason)
    return Declined(run=run)
