"""`make run`: the whole service on this machine, on a local AWS emulator, with its data kept.

Environment: `PORT` (8799), `CERTHAVEN_STATE` (the folder for data, log and `env`; `.local`), `EMULATOR_PYTHON`;
`ALIBABA` and `ALIBABA_PORT` as `infra/double.py` has them.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from infra import double
from infra.package import ROOT, Package, build
from infra.say import give_up, step

STACK = "certhaven-local"
BUCKET = "certhaven-local-packages"
REGION = "us-east-1"
#: Of the template. A function that logs nothing keeps the emulator waiting for 50 ms, so each says something here.
PARAMETERS = {"DeletionProtection": "false", "LogLevel": "DEBUG"}
#: The emulator is expected to answer within this many seconds.
PATIENCE = 60.0


@dataclass(frozen=True, slots=True)
class Local:
    """Where the local service lives."""

    port: int
    folder: Path
    python: str

    @property
    def endpoint(self) -> str:
        """Where the emulator answers."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def log(self) -> Path:
        """What the emulator and the functions print."""
        return self.folder / "emulator.log"

    @property
    def pid_file(self) -> Path:
        """Who the emulator is, so that one left over from a killed start is found."""
        return self.folder / "emulator.pid"

    def environment(self) -> dict[str, str]:
        """What boto3 needs to reach the emulator."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_DEFAULT_REGION": REGION,
            "AWS_REGION": REGION,
        }


def settle() -> Local:
    """Read the environment. Ends with one line when it does not make sense."""
    text = os.environ.get("PORT") or "8799"
    if not text.isdigit() or not 1 <= int(text) <= 65535:
        give_up(f"PORT is {text!r}, which is no port number.", "Try `make run PORT=8800`.")
    folder = Path(os.environ.get("CERTHAVEN_STATE") or ROOT / ".local").resolve()
    python = os.environ.get("EMULATOR_PYTHON") or str(ROOT / ".local" / "emulator" / "bin" / "python")
    if not Path(python).exists():
        give_up("The emulator is not installed.", "Start with `make run`, which installs it.")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        give_up(f"The folder {folder} cannot be made: {error.strerror}.", "Choose another with CERTHAVEN_STATE=.")
    return Local(int(text), folder, python)


def free_port(local: Local) -> None:
    """Make sure that the port is free; an emulator of ours that outlived its launcher is ended."""
    _end_leftover(local)
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", local.port))
        except OSError as error:
            give_up(
                f"Port {local.port} cannot be used: {error.strerror}.",
                f"Choose another: `make run PORT={local.port + 1 if local.port < 65535 else 8800}`.",
            )


def _end_leftover(local: Local) -> None:
    try:
        pid = int(local.pid_file.read_text())
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
    except (OSError, ValueError):
        return
    if b"infra/emulator.py" not in command:
        return
    parent = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1]
    if parent != "1" and Path(f"/proc/{parent}/cmdline").read_bytes().find(b"infra.local") >= 0:
        give_up("Certhaven is already running from this folder.", "Use it, or stop it with Ctrl-C there.")
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGTERM)
    for _ in range(100):
        if not Path(f"/proc/{pid}").exists():
            return
        time.sleep(0.1)
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
        time.sleep(0.5)


def follow_port(local: Local) -> None:
    """Have the saved state speak of this port: the emulator knows its queues by addresses that hold the port."""
    known, new = local.folder / "port", str(local.port)
    old = known.read_text() if known.exists() else new
    if old != new:
        for file in (local.folder / "state").glob("*.json"):
            text = file.read_text()
            for host in ("localhost", "127.0.0.1"):
                text = text.replace(f"{host}:{old}/", f"{host}:{new}/")
            file.write_text(text)
    known.write_text(new)


def clear_leftovers(local: Local) -> None:
    """Delete what functions unpacked in an earlier run, some 100 MB each."""
    shutil.rmtree(local.folder / "tmp", ignore_errors=True)


def launch_emulator(local: Local) -> subprocess.Popen[bytes]:
    """Start the emulator."""
    environment = {
        **{k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "CERTHAVEN_", "PYTHON"))},
        **local.environment(),
        "BIND_HOST": "127.0.0.1",
        "GATEWAY_PORT": str(local.port),
        "PERSIST_STATE": "1",
        "S3_PERSIST": "1",
        "STATE_DIR": str(local.folder / "state"),
        "S3_DATA_DIR": str(local.folder / "s3"),
        "TMPDIR": str(local.folder / "tmp"),
        "LOG_LEVEL": "WARNING",
        "LAMBDA_WARM_TTL_SECONDS": "3600",
        "LAMBDA_EXECUTOR": "local",
    }
    (local.folder / "tmp").mkdir(exist_ok=True)
    with local.log.open("ab") as log:
        child = subprocess.Popen(
            [local.python, str(ROOT / "infra" / "emulator.py")],
            env=environment,
            cwd=local.folder,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    local.pid_file.write_text(str(child.pid))
    return child


def await_emulator(local: Local, child: subprocess.Popen[bytes]) -> None:
    """Wait until it answers. Ends with one line when it does not."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        if child.poll() is not None:
            last = local.log.read_text(errors="replace").strip().splitlines()[-1:] or ["it printed nothing"]
            give_up(f"The emulator did not start: {last[0]}", f"Its log is {local.log}.")
        with contextlib.suppress(OSError):
            call(f"{local.endpoint}/_ministack/health", timeout=2)
            return
        time.sleep(0.1)
    child.kill()
    give_up(f"The emulator did not answer within {PATIENCE:.0f} s.", f"Its log is {local.log}.")


def deploy(local: Local, package: Package, more: dict[str, str]) -> dict[str, str]:
    """Bring the stack to what the package says, with `more` parameters; gives the stack's outputs."""
    import boto3  # 300 ms, while the emulator starts

    from infra import stack  # as above

    cloudformation = boto3.client("cloudformation")
    clients = {"s3": boto3.client("s3"), "cloudformation": cloudformation}
    marker = local.folder / "deployed"
    wanted = " ".join([package.digest, *(f"{name}={value}" for name, value in more.items())])
    stack.ensure_bucket(clients["s3"], BUCKET, REGION)
    if marker.exists() and marker.read_text() == wanted:
        try:
            found = cloudformation.describe_stacks(StackName=STACK)["Stacks"][0]
            return {o["OutputKey"]: o["OutputValue"] for o in found["Outputs"]}
        except cloudformation.exceptions.ClientError:
            marker.unlink()
    made = stack.deploy(clients, package, name=STACK, bucket=BUCKET, parameters=PARAMETERS | more, wait=1)
    _complete_api(made.outputs["RestAPIId"], package)
    save(local)
    marker.write_text(wanted)
    return made.outputs


def save(local: Local) -> None:
    """Have the emulator save its state, and wait for that: what is marked as deployed survives any end."""
    saved, end = local.folder / "saved", time.monotonic() + PATIENCE
    for _ in range(2):  # the first may have begun before the last change
        saved.unlink(missing_ok=True)
        os.kill(int(local.pid_file.read_text()), signal.SIGUSR1)
        while not saved.exists() and time.monotonic() < end:
            time.sleep(0.05)


def _complete_api(api_id: str, package: Package) -> None:
    """Set by API what AWS reads from the OpenAPI body and the emulator does not: binary types, gateway responses."""
    import boto3  # as above
    import yaml  # as above

    class Loader(yaml.SafeLoader):
        """Reads CloudFormation's short forms as plain text."""

    Loader.add_multi_constructor("!", lambda _, suffix, node: f"{suffix} {node.value}")
    resources = yaml.load(package.template.read_text(), Loader)["Resources"]  # noqa: S506 - a SafeLoader
    body = resources["RestAPI"]["Properties"]["DefinitionBody"]
    gateway = boto3.client("apigateway")
    types = [kind.replace("/", "~1") for kind in body["x-amazon-apigateway-binary-media-types"]]
    patch = [{"op": "add", "path": f"/binaryMediaTypes/{kind}"} for kind in types]
    gateway.update_rest_api(restApiId=api_id, patchOperations=patch)
    for kind, answer in body["x-amazon-apigateway-gateway-responses"].items():
        gateway.put_gateway_response(
            restApiId=api_id,
            responseType=kind,
            statusCode=str(answer["statusCode"]),
            responseTemplates=answer["responseTemplates"],
        )
    gateway.create_deployment(restApiId=api_id, stageName="live")


def read_env(path: Path) -> dict[str, str]:
    """What an earlier start wrote."""
    if not path.exists():
        return {}
    lines = path.read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if "=" in line and not line.startswith("export "))


def write_env(path: Path, values: dict[str, str]) -> None:
    """Write what clients need, readable by its owner only: plain lines, and one that exports them all."""
    lines = [f"{name}={value}" for name, value in values.items()]
    text = "\n".join([*lines, f"export {' '.join([*list(values)[:-1], lines[-1]])}", ""])
    making = path.with_suffix(".new")
    making.touch(mode=0o600)
    making.write_text(text)
    making.replace(path)


def allow_mail() -> None:
    """Have the emulator's SES take mail from the service: its address counts as verified as soon as it is known."""
    import boto3  # as above

    from chalicelib.config import Settings  # as above

    ses = boto3.client("sesv2")
    with contextlib.suppress(ses.exceptions.AlreadyExistsException):
        ses.create_email_identity(EmailIdentity=Settings().mail_from)


def prepare(local: Local, outputs: dict[str, str]) -> dict[str, str]:
    """Create the first account and tokens, and write the `env` file."""
    from chalicelib.config import Settings  # pynamodb takes 250 ms, while the emulator starts
    from infra.bootstrap import Tokens, bootstrap  # as above

    path = local.folder / "env"
    known = read_env(path)
    settings = Settings(
        stage=STACK, region=REGION, table_prefix=outputs["TablePrefix"], kms_key_id=outputs["PrivateKeysKeyArn"]
    )
    tokens = bootstrap(settings, Tokens(known.get("CERTHAVEN_TOKEN", ""), known.get("CERTHAVEN_OPERATOR_TOKEN", "")))
    values = {
        "CERTHAVEN_URL": f"{local.endpoint}/_aws/execute-api/{outputs['RestAPIId']}/live",
        "CERTHAVEN_TOKEN": tokens.admin,
        "CERTHAVEN_OPERATOR_TOKEN": tokens.operator,
        "CERTHAVEN_ACCOUNT": tokens.account_id,
        "CERTHAVEN_DROP_BUCKET": outputs["DropBucketName"],
        "CERTHAVEN_DROP_QUEUE": outputs["DropQueueUrl"],
        **{name: value for name, value in local.environment().items() if name != "AWS_REGION"},
    }
    write_env(path, values)
    return values


def warm(url: str) -> None:
    """Call the service once, so that the first user finds it awake."""
    for path in ("/healthz", "/v1/me"):
        with contextlib.suppress(urllib.error.HTTPError):
            call(url + path, timeout=30)


def call(url: str, timeout: float) -> None:
    """GET an address of this machine. Raises: OSError."""
    request = urllib.request.Request(url, headers={"Authorization": "Bearer nobody"})  # noqa: S310 - http, see above
    with urllib.request.urlopen(request, timeout=timeout) as answer:  # noqa: S310 - as above
        answer.read()


def main() -> None:
    """Start everything, say where it is, and stay until stopped."""
    began = time.monotonic()
    local = settle()
    alibaba = double.settle(local.folder, local.port)
    child: subprocess.Popen[bytes] | None = None
    # Said aloud, since a shell starts what it puts into the background with Ctrl-C ignored.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt)
    try:
        print("Starting Certhaven on this machine", flush=True)
        free_port(local)
        package = build()
        os.environ.update(local.environment())
        follow_port(local)
        clear_leftovers(local)
        with step("starting the local AWS emulator"):
            child = launch_emulator(local)
            await_emulator(local, child)
        alibaba.start()
        with step("deploying the stack"):
            outputs = deploy(local, package, alibaba.parameters)
            allow_mail()
        with step("creating the first account and tokens"):
            values = prepare(local, outputs)
            alibaba.give_credentials(STACK, values["CERTHAVEN_ACCOUNT"])
        with step("waking the functions"):
            warm(values["CERTHAVEN_URL"])
        _say_where(local, values, time.monotonic() - began, alibaba.about)
        code = child.wait()
        give_up(f"The emulator ended by itself ({code}).", f"Its log is {local.log}.")
    except KeyboardInterrupt:
        print("\nStopping; the data stays.", flush=True)
    finally:
        if child is not None:
            _stop(child)
            local.pid_file.unlink(missing_ok=True)
            clear_leftovers(local)
        alibaba.stop()


def _interrupt(signum: int, frame: FrameType | None) -> None:
    del signum, frame
    raise KeyboardInterrupt


def _stop(child: subprocess.Popen[bytes]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if child.poll() is None:
        child.terminate()
        try:
            child.wait(timeout=15)
        except subprocess.TimeoutExpired:
            child.kill()


def _say_where(local: Local, values: dict[str, str], seconds: float, more: str) -> None:
    env = local.folder / "env"
    shown = env.relative_to(Path.cwd()) if env.is_relative_to(Path.cwd()) else env
    print(
        f"""
Certhaven is up after {seconds:.1f} s.

  API          {values["CERTHAVEN_URL"]}/v1
  admin token  {values["CERTHAVEN_TOKEN"]}
  drop folder  s3://{values["CERTHAVEN_DROP_BUCKET"]}/drop/{values["CERTHAVEN_ACCOUNT"]}/
  settings     . {shown}
  log          {local.log}{more}

Try, in another terminal:
  . {shown}
  curl -s "$CERTHAVEN_URL/v1/me" -H "Authorization: Bearer $CERTHAVEN_TOKEN"

Ctrl-C stops it; the data is there at the next start.""",
        flush=True,
    )


if __name__ == "__main__":
    main()
