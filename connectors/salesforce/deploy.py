"""Bringing the package into an org: a deployment is sent, then asked after until it is done.

simple-salesforce carries it (Metadata API Developer Guide, "deploy()" and "checkDeployStatus()"), through an object and
a session of their own: its `deploy` leaves `Content-Type: text/xml` behind in the headers that every later call of the
same object would send. It never renews a token either, and lets texts of faults leak; both are seen to here.
"""

import io
import re
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import requests
import structlog
from simple_salesforce.api import Salesforce
from simple_salesforce.exceptions import SalesforceError

from connectors.salesforce.errors import Ending, Fault, for_a_person, understand
from connectors.salesforce.session import SalesforceSession
from connectors.salesforce.settings import SalesforceSettings
from connectors.salesforce.token import Token, Tokens
from connectors.salesforce.transport import failed_to_reach
from sync.port import SuspendedError, TransientError

log = structlog.get_logger()

# Seconds between two questions: soon at first, a package of this size is done within a minute.
_FIRST_LOOK, _SLOWEST_LOOK = 0.2, 2.0
# Unanswered questions in a row after which we give up; the deployment goes on without us.
_UNANSWERED = 5

_NOT_ADMITTED = frozenset({"invalid_grant", "invalid_app_access"})

_FAULT = re.compile(r"<faultcode>(?:\w+:)?(\w+)</faultcode>.*?<faultstring>(.*?)</faultstring>", re.DOTALL)
_WHOLE_MESSAGE = re.compile(r"<errorMessage>(.*?)</errorMessage>", re.DOTALL)
_DEPLOYER = (
    "The user lacks the permission 'Modify Metadata Through Metadata API Functions': sign in as an administrator with "
    "--username (the app must admit them), or write the package with `assent salesforce package` and let them deploy it"
)
# SOAP's fault codes that mean another thing here than for a record.
_ADVICE: Mapping[str, tuple[Ending, str]] = {
    "INSUFFICIENT_ACCESS": (Ending.SUSPENDED, _DEPLOYER),
    "INVALID_OPERATION": (Ending.SUSPENDED, "The org takes no deployment now: in Setup, see Deployment Status"),
    "UNSUPPORTED_API_VERSION": (Ending.SUSPENDED, "Set `api_version` to one that the org has"),
    "LIMIT_EXCEEDED": (Ending.TRANSIENT, "The org has too many deployments waiting: in Setup, see Deployment Status"),
}  # fmt: skip


class Failure(NamedTuple):
    """A component that the org didn't take, in Salesforce's own words."""

    #: Its file in the zip; '' where the deployment failed as a whole.
    file: str
    #: `CustomField`, `Report`…; '' likewise.
    type: str
    problem: str


class Deployment(NamedTuple):
    """How far a deployment is."""

    #: As in Setup, Deployment Status.
    id: str
    #: Pending, InProgress, Succeeded, SucceededPartial, Failed, Canceling or Canceled.
    state: str
    total: int = 0
    deployed: int = 0
    failed: int = 0
    failures: tuple[Failure, ...] = ()

    @property
    def done(self) -> bool:
        """True when nothing more will happen."""
        return self.state in ("Succeeded", "SucceededPartial", "Failed", "Canceled")

    @property
    def succeeded(self) -> bool:
        """True when the org took all of it."""
        return self.state == "Succeeded"


def deploy(
    settings: SalesforceSettings,
    archive: bytes,
    *,
    check_only: bool = False,
    patience: float = 1800.0,
    progress: Callable[[Deployment], None] = lambda _: None,
) -> Deployment:
    """Deploy a zip, all of it or nothing, and return how it ended.

    With `check_only` the org says what it would do, and does nothing. Raises SuspendedError where it refuses us,
    TransientError where it can't be reached, or isn't done after `patience` seconds: the deployment goes on then.
    """
    caller = _Caller(settings)
    try:
        deployment = caller.start(archive, check_only=check_only)
        log.info("salesforce.deployment_started", deployment=deployment.id, check_only=check_only)
        return _watch(caller, deployment, patience, progress)
    except TransientError as error:
        raise TransientError(error.code, for_a_person(error.advice)) from None
    except SuspendedError as error:
        if error.code not in _NOT_ADMITTED:
            raise
        raise SuspendedError(error.code, f"{error.advice}, and for a deployment the administrator's profile") from None
    finally:
        caller.shut()


def _watch(
    caller: "_Caller", deployment: Deployment, patience: float, progress: Callable[[Deployment], None]
) -> Deployment:
    until, pause, unanswered = time.monotonic() + patience, _FIRST_LOOK, 0
    while not deployment.done:
        progress(deployment)
        if time.monotonic() >= until:
            raise TransientError("still_deploying", f"The deployment {deployment.id} isn't done yet and goes on: "
                                 "in Setup, see Deployment Status")  # fmt: skip
        time.sleep(min(pause, max(0.0, until - time.monotonic())))
        pause = min(pause * 2, _SLOWEST_LOOK)
        try:
            deployment, unanswered = caller.look(deployment.id), 0
        except TransientError as error:
            unanswered += 1
            if unanswered >= _UNANSWERED:
                advice = f"{error.advice}. The deployment {deployment.id} goes on: in Setup, see Deployment Status"
                raise TransientError(error.code, advice) from None
    progress(deployment)
    log.info("salesforce.deployment_ended", deployment=deployment.id, state=deployment.state)
    return deployment


class _Caller:
    """The two calls of a deployment, with an object of simple-salesforce's of its own."""

    def __init__(self, settings: SalesforceSettings) -> None:
        self._version = settings.api_version
        self._session = SalesforceSession(settings, lambda _: None)
        self._session.hooks["response"].append(self._keep)
        self._tokens = Tokens(settings, self._session)
        self._answer = ""
        self._bound: tuple[Token, Salesforce] | None = None

    def start(self, archive: bytes, *, check_only: bool) -> Deployment:
        """Send the zip. A repeat deploys the same once more, which changes nothing."""
        started = self._call(
            lambda salesforce: salesforce.deploy(
                io.BytesIO(archive),
                # Without this it overrides the options below; they are those that production wants.
                sandbox=True,
                checkOnly="true" if check_only else "false",
                rollbackOnError="true",
                ignoreWarnings="true",
                allowMissingFiles="false",
                autoUpdatePackage="false",
                performRetrieve="false",
                purgeOnDelete="false",
                # Empty: the org decides. `NoTestRun` is refused by production, and there is no Apex in it to test.
                testLevel="",
                tests="",
            )
        )
        if not started.get("asyncId"):
            raise TransientError("unreadable_answer", "Salesforce's answer named no deployment")
        return Deployment(str(started["asyncId"]), "Pending")

    def look(self, deployment: str) -> Deployment:
        """Ask how far a deployment is."""
        status = self._call(lambda salesforce: salesforce.checkDeployStatus(deployment))
        detail = status.get("deployment_detail") or {}
        failures = tuple(
            Failure(one.get("file") or "", one.get("type") or "", one.get("message") or "no reason was given")
            for one in detail.get("errors", ())
            if one.get("status") != "Warning"
        )
        state = status.get("state") or "InProgress"
        if state in ("Failed", "Canceled") and not failures:
            failures = (Failure("", "", self._whole() or status.get("state_detail") or state),)
        total, deployed, failed = (int(detail.get(f"{name}_count") or 0) for name in ("total", "deployed", "failed"))
        return Deployment(deployment, state, total, deployed, failed, failures)

    def shut(self) -> None:
        """Let go of connections."""
        self._session.close()

    def _call(self, ask: Callable[[Salesforce], Any]) -> Any:
        token = self._tokens.current()
        answer = self._once(ask, token)
        if isinstance(answer, Fault) and answer.ending is Ending.EXPIRED:
            answer = self._once(ask, self._tokens.renew(token))
        if isinstance(answer, Fault):
            if answer.ending in (Ending.TRANSIENT, Ending.LOCKED, Ending.AGAIN):
                raise TransientError(answer.code, answer.advice)
            raise SuspendedError(answer.code, answer.advice)
        return answer

    def _once(self, ask: Callable[[Salesforce], Any], token: Token) -> Any:
        trouble: TransientError | SuspendedError
        salesforce = self._salesforce(token)
        # Translated here and raised outside of `except`, as in the client: theirs quote bodies.
        try:
            return ask(salesforce)
        except SalesforceError as error:
            return _understand(error)
        except (requests.RequestException, OSError) as error:
            trouble = failed_to_reach(error)
        except Exception:  # an answer that is no XML, or not the XML it expects
            trouble = TransientError("unreadable_answer", "Salesforce's answer could not be read")
        raise trouble

    def _salesforce(self, token: Token) -> Salesforce:
        if self._bound is None or self._bound[0] is not token:
            salesforce = Salesforce(
                session_id=token.access_token,
                instance_url=token.instance_url,
                session=self._session,
                version=self._version,
            )
            self._bound = (token, salesforce)
        return self._bound[1]

    def _keep(self, response: requests.Response, *_: Any, **__: Any) -> None:
        self._answer = response.text

    def _whole(self) -> str:
        """Return why a deployment failed as a whole, which simple-salesforce leaves out."""
        found = _WHOLE_MESSAGE.search(self._answer)
        return found[1].strip() if found else ""


def _understand(error: SalesforceError) -> Fault:
    content = error.content.decode("utf-8", "replace") if isinstance(error.content, bytes) else str(error.content)
    found = _FAULT.search(content)
    if found is None:
        return understand(error.status, "", "")
    code = found[1]
    if code in _ADVICE:
        ending, advice = _ADVICE[code]
        return Fault(ending, code, advice)
    return understand(error.status, code, found[2])
