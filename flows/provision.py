"""An environment's resources in Google Cloud: what is there, what is missing, and, approved, what is done."""

from prefect import flow, get_run_logger, task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE
from pydantic import BaseModel, Field

from blocks.pick_lists import EnvironmentName
from blocks.provisioning.google_cloud import load_google_cloud
from blocks.provisioning.provisioner import Provisioner
from flows.pages import told
from releases.problem import Failed, Refused
from releases.provisioning.show import lines
from releases.provisioning.wanted import Change, Plan, Wanted


class Provisioned(BaseModel):
    """What a run came to."""

    environment: str
    plan: str = Field(description="The name of the plan, which approves it.")
    done: list[str] = Field(default_factory=list)
    waiting: int = Field(0, description="Changes that wait for approval.")
    by_hand: int = Field(0, description="Resources that only a person should change.")


@flow(name="provision", flow_run_name="provision {environment}")
def provision(environment: EnvironmentName, approve: str = "") -> Provisioned:
    """Compare what is there with what is wanted; apply it if this very plan is approved.

    Args:
        environment: Which environment.
        approve: The plan's name, as a run without it shows it. Empty: nothing is changed.

    """
    provisioner = load_google_cloud(environment).provisioner()
    found = look(provisioner)
    show(environment, found)
    result = Provisioned(environment=environment, plan=found.name, by_hand=len(found.left_to_people))
    if not found.todo:
        return result
    if not approve:
        result.waiting = len(found.todo)
        return result
    if approve != found.name:
        raise Refused(
            "what is there has changed since the plan was made; nothing was touched",
            expected=f"approval of the plan {found.name}",
            got=f"approval of {approve}",
            next_step=f"model-deploy provision --environment {environment}",
        )
    for change in found.todo:
        bring(provisioner, change.wanted)
        result.done.append(f"{change.action} {change.key}")
    left = look(provisioner)
    if left.todo:
        raise Failed(
            "somebody has changed the environment meanwhile",
            got="\n".join(lines(left)),
            next_step=f"model-deploy provision --environment {environment}",
        )
    return result


@task(task_run_name="look at what is there", cache_policy=NO_CACHE)
def look(provisioner: Provisioner) -> Plan:
    """Wanted against found."""
    return provisioner.plan()


@task(task_run_name="{wanted.key}", cache_policy=NO_CACHE)
def bring(provisioner: Provisioner, wanted: Wanted) -> Change:
    """One resource."""
    change = provisioner.bring(wanted)
    get_run_logger().info("%s %s", change.action, change.key)
    return change


def show(environment: str, found: Plan) -> None:
    """The plan, in the log and as a page."""
    text = "\n".join(lines(found))
    get_run_logger().info("plan %s\n%s", found.name, text)
    approval = f"\n\nTo apply it, run this flow again with `approve` = `{found.name}`." if found.todo else ""
    with told():
        create_markdown_artifact(
            f"# Plan {found.name}\n\n```diff\n{text}\n```{approval}", f"plan-{environment}"
        )
