"""What an agent may say of itself, what differs between versions, and whom an agent may reach."""

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

import pytest
from pydantic import ValidationError
from pydantic_core import to_json

from services.gateway.agents.definition import AgentDefinition, AgentInput
from services.gateway.agents.difference import MOST_LINES, difference
from services.gateway.agents.examples import FIRST, SECOND
from services.gateway.agents.team import MOST_DEEP, MOST_REACHED, BadTeam, Team, assemble
from services.gateway.agents.version import ASSISTANT, AgentVersion, Reference
from services.gateway.requests import RunInput
from services.gateway.validation import invalid_body

Shelf = dict[str, AgentVersion]


def agent(name: str, *handoffs: str, asks: tuple[str, ...] = (), version: int = 1) -> AgentVersion:
    definition = AgentDefinition(handoffs=handoffs, agents=asks)
    return replace(FIRST, name=name, version=version, newest=version, definition=definition)


def shelf(*agents: AgentVersion) -> Shelf:
    """By their versions, and by their bare names where a later one stands for them."""
    return {**{str(each): each for each in agents}, **{each.name: each for each in agents}}


async def team_of(top: AgentVersion, others: Shelf, *, is_newest: bool = True) -> Team:
    async def load(references: Collection[Reference]) -> Mapping[Reference, AgentVersion]:
        return {each: others[str(each)] for each in references if str(each) in others}

    return await assemble(top, load, is_newest=is_newest)


async def refused(top: AgentVersion, others: Shelf) -> tuple[str, str]:
    """The field at fault and what is said about it."""
    with pytest.raises(BadTeam) as caught:
        await team_of(top, others)
    return caught.value.field, str(caught.value)


def fault_of(**fields: Any) -> tuple[str, str]:
    with pytest.raises(ValidationError) as caught:
        AgentInput.model_validate_json(to_json({"name": "reviewer", **fields}))
    error = invalid_body(caught.value, AgentInput).errors[0]
    return error.field, error.message


def test_a_name_is_all_that_an_agent_needs() -> None:
    given = AgentInput.model_validate_json(b'{"name": "reviewer"}')
    assert given.definition == AgentDefinition()


@pytest.mark.parametrize("name", ["", "Reviewer", "-a", "a b", "a/b", "a@1", "x" * 49])
def test_a_name_that_no_tool_could_carry_is_refused(name: str) -> None:
    assert fault_of(name=name)[0] == "name"


@pytest.mark.parametrize("field", ["handoffs", "agents"])
@pytest.mark.parametrize("named", ["Desk", "desk@0", "desk@", "desk@1.5", "desk@9999999999"])
def test_what_names_no_agent_is_refused_in_its_place(field: str, named: str) -> None:
    assert fault_of(**{field: ["clerk", named]})[0] == f"{field}.1"


def test_one_agent_in_two_versions_would_be_two_tools_of_one_name() -> None:
    assert (
        fault_of(handoffs=["desk@1", "desk@2"])[1] == "each agent may stand here once, whatever its version"
    )


@pytest.mark.parametrize(
    ("schema", "place"),
    [
        ({"type": "text"}, "$.type"),
        ({"properties": {"a": {"type": "text"}}}, "$.properties.a.type"),
        ({"properties": {"a": {"$ref": "https://example.com/a.json"}}}, "$.properties.a.$ref"),
        ({"properties": {"a": {"$ref": "file:///etc/passwd"}}}, "$.properties.a.$ref"),
    ],
)
def test_a_schema_that_is_none_or_leads_elsewhere_is_refused_by_its_place(
    schema: dict[str, Any], place: str
) -> None:
    field, message = fault_of(response_format=schema)
    assert field == "response_format"
    assert place in message
    with pytest.raises(ValidationError, match="response_format"):
        RunInput.model_validate_json(to_json({"prompt": "hi", "response_format": schema}))


async def test_a_team_is_all_whom_handoffs_and_questions_reach() -> None:
    others = shelf(agent("desk", "clerk@1"), agent("clerk"), agent("clerk", version=2), agent("sage"))
    team = await team_of(agent("front", "desk", asks=("sage",)), others)
    assert [str(member.agent) for member in team.others] == ["desk@1", "sage@1", "clerk@1"]
    assert {ref.name for ref in team.handed_over_to()} == {"desk", "clerk"}


async def test_an_agent_that_several_reach_is_there_once() -> None:
    others = shelf(agent("b", "d"), agent("c", "d"), agent("d"))
    team = await team_of(agent("a", "b", "c", asks=("d",)), others)
    assert sorted(str(member.agent) for member in team.others) == ["b@1", "c@1", "d@1"]


async def test_the_built_in_agent_is_there_without_being_kept() -> None:
    team = await team_of(agent("front", "assistant"), {})
    assert [member.agent for member in team.others] == [ASSISTANT]
    assert await refused(agent("front", "assistant@2"), {}) == (
        "handoffs.0",
        "the agent front@1 names assistant@2, which there is not (GET /api/agents)",
    )


async def test_a_circle_is_named_from_where_it_begins() -> None:
    others = shelf(agent("b", asks=("c",)), agent("c", "a"))
    assert await refused(agent("a", "x", "b", version=3), {**others, **shelf(agent("x"))}) == (
        "handoffs.1",
        "the agents lead in a circle: a@3 → b@1 → c@1 → a@3; leave one of them out",
    )


async def test_an_agent_that_names_itself_is_a_circle() -> None:
    assert "a@1 → a@1" in (await refused(agent("a", asks=("a",)), {}))[1]


async def test_an_older_version_of_oneself_is_somebody_else() -> None:
    others = shelf(agent("a", version=1), agent("b", "a@1"))
    team = await team_of(agent("a", "b", version=2), {**others, "a": agent("a", version=2)})
    assert [str(member.agent) for member in team.others] == ["b@1", "a@1"]


async def test_the_newest_version_is_not_the_one_at_the_top_when_that_is_old() -> None:
    newest = agent("a", version=2)
    team = await team_of(agent("a", "b"), shelf(agent("b", "a"), newest), is_newest=False)
    assert newest in [member.agent for member in team.others]


async def test_what_is_archived_or_missing_further_down_is_blamed_on_the_way_to_it() -> None:
    gone = replace(agent("c"), archived_at=FIRST.created_at)
    field, message = await refused(agent("a", asks=("b",)), shelf(agent("b", "c"), gone))
    assert (field, message) == ("agents.0", "the agent b@1 names c, which is archived; name another one")
    assert (await refused(agent("a", "b"), shelf(agent("b", "nobody"))))[0] == "handoffs.0"


async def test_a_crowd_and_a_long_chain_are_refused() -> None:
    crowd = [agent(f"x{number}") for number in range(MOST_REACHED)]
    hub = agent("hub", *(each.name for each in crowd))
    assert "more than 16 others" in (await refused(agent("a", "hub"), shelf(hub, *crowd)))[1]
    assert len((await team_of(hub, shelf(*crowd))).others) == MOST_REACHED
    chain = [agent(f"y{number}", f"y{number + 1}") for number in range(MOST_DEEP)]
    end = agent(f"y{MOST_DEEP}")
    assert len((await team_of(chain[0], shelf(*chain[1:], end))).others) == MOST_DEEP
    assert "more than 8 steps" in (await refused(agent("a", "y0"), shelf(*chain, end)))[1]


def test_a_difference_names_each_field_and_diffs_the_instructions() -> None:
    told = difference(FIRST, SECOND)
    assert [(each.field, each.before, each.after) for each in told.changes] == [
        ("parameters.temperature", 0.2, 0.0)
    ]
    assert told.instructions is not None
    assert told.instructions.splitlines() == [
        "--- reviewer@1",
        "+++ reviewer@2",
        "@@ -1,2 +1,2 @@",
        " Check every sum.",
        "-Answer briefly.",
        "+Answer in one sentence.",
    ]
    assert difference(FIRST, FIRST).changes == ()
    assert difference(FIRST, FIRST).instructions is None


def test_very_long_instructions_are_compared_as_a_whole() -> None:
    def with_lines(count: int) -> AgentVersion:
        text = "\n".join(str(number % 90) for number in range(count))
        return replace(FIRST, definition=AgentDefinition(instructions=text))

    told = difference(with_lines(MOST_LINES + 1), with_lines(MOST_LINES))
    assert told.instructions is not None
    assert told.instructions.splitlines()[2] == f"@@ -1,{MOST_LINES + 1} +1,{MOST_LINES} @@"
