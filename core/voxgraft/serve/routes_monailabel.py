"""The addresses of MONAI Label's API: what a request carries, and what goes back."""

from __future__ import annotations

import json
import secrets
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..imaging.volume import Volume
from ..imaging.write import write
from .answers import Answer, file_of
from .monailabel import NOT_TRAINED, Service
from .refused import Refused
from .uploads import LONGEST_FIELD, Form, ending, form_of

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import Route

    from ..web.access import Callers

Work = Callable[[Service, Form], Any]


def routes(service: Service, callers: Callers) -> list[Route]:
    """Every address.

    Args:
        service: What does the work.
        callers: Whose tokens are also the passwords of `/auth/token`.
    """
    from starlette.routing import Route

    return [
        Route("/auth/", _answering(service, lambda s, f: {"enabled": bool(callers.tokens)}), methods=["GET"]),
        Route("/auth/token", _token(callers), methods=["POST"]),
        Route("/auth/token/valid", _answering(service, lambda s, f: {"username": "viewer"}), methods=["GET"]),
        Route("/info/", _answering(service, lambda s, f: s.info()), methods=["GET"]),
        Route(
            "/activelearning/{strategy}", _reading(service, lambda s, f: s.next(f.path["strategy"])), methods=["POST"]
        ),
        Route("/infer/{model}", _reading(service, _infer), methods=["POST"]),
        Route("/datastore/", _answering(service, _datastore), methods=["GET"]),
        Route("/datastore/", _reading(service, _add), methods=["PUT"]),
        Route("/datastore/image", _reading(service, _add), methods=["PUT"]),
        Route("/datastore/image", _answering(service, _image), methods=["GET", "HEAD"]),
        Route("/datastore/image/info", _answering(service, _image_info), methods=["GET"]),
        Route("/datastore/label", _reading(service, _save), methods=["PUT"]),
        Route("/datastore/label", _answering(service, _label), methods=["GET", "HEAD"]),
        Route("/datastore/label/info", _answering(service, _label_info), methods=["GET"]),
        Route("/session/", _reading(service, _begin), methods=["PUT"]),
        Route("/session/{session}", _answering(service, _session), methods=["GET"]),
        Route("/session/{session}", _answering(service, _end), methods=["DELETE"]),
        Route("/train/", _answering(service, _train_status), methods=["GET"]),
        Route("/train/", _answering(service, _train), methods=["POST", "DELETE"]),
        Route("/train/{model}", _answering(service, _train), methods=["POST"]),
    ]


def _answering(service: Service, work: Work) -> Any:
    """An address whose requests carry nothing but their address."""

    async def answer(request: Request) -> Response:
        from starlette.concurrency import run_in_threadpool

        form = Form(dict(request.query_params), dict(request.path_params), {})
        return _response(await run_in_threadpool(work, service, form))

    return answer


def _reading(service: Service, work: Work) -> Any:
    """An address whose requests carry a form or JSON."""

    async def answer(request: Request) -> Response:
        from starlette.concurrency import run_in_threadpool

        with tempfile.TemporaryDirectory(prefix="voxgraft-serve-") as folder:
            form = await form_of(request, Path(folder))
            return _response(await run_in_threadpool(work, service, form))

    return answer


def _response(answer: Any) -> Response:
    from starlette.responses import Response

    from ..review.web.requests import Answer as Json

    return answer if isinstance(answer, Response) else Json(answer)


def _token(callers: Callers) -> Any:
    """Where Slicer changes a name and a password into a token: any name, and the token itself as the password."""

    async def answer(request: Request) -> Response:
        async with request.form(max_files=0, max_part_size=LONGEST_FIELD) as form:
            password = form.get("password")
        given = password.strip() if isinstance(password, str) else ""
        if callers.reader_of_token(given) is None:
            raise Refused(401, "the password is wrong: it is the token of this server")
        return _response({"access_token": given, "token_type": "bearer"})

    return answer


def _infer(service: Service, form: Form) -> Any:
    """A mask with what is told of it: both in one form, or one of them alone."""
    from starlette.responses import Response

    output = form.query.get("output", "all")
    if output not in ("all", "image", "json", ""):
        raise Refused(400, f"masks are not given as {output[:20]!r} here; ask for all, image or json")
    sent = form.file("file")
    model = form.path["model"]
    answer: Answer = service.infer(
        model, form.query.get("image", ""), form.query.get("session_id", ""), form.params, sent and sent[1]
    )
    if output == "json":
        return answer.params
    suffix, data = file_of(answer, form.params, service.models.catalogue(str(answer.params["model"])))
    name = f"mask-{secrets.token_hex(6)}{suffix}"
    if output == "image":
        headers = {"content-disposition": f'attachment; filename="{name}"'}
        return Response(data, media_type="application/octet-stream", headers=headers)
    edge = f"voxgraft{secrets.token_hex(16)}"
    parts = [
        ('name="params"', "application/json", json.dumps(answer.params).encode()),
        (f'name="image"; filename="{name}"', "application/octet-stream", data),
    ]
    return Response(_joined(parts, edge), media_type=f"multipart/form-data; boundary={edge}")


def _joined(parts: Sequence[tuple[str, str, bytes]], edge: str) -> bytes:
    """The body of a form: (name, media type, content) of each part, with an edge between them."""
    pieces: list[bytes] = []
    for called, kind, content in parts:
        head = f"--{edge}\r\nContent-Disposition: form-data; {called}\r\nContent-Type: {kind}\r\n\r\n"
        pieces += [head.encode(), content, b"\r\n"]
    return b"".join([*pieces, f"--{edge}--\r\n".encode()])


def _datastore(service: Service, form: Form) -> Any:
    output = form.query.get("output", "stats")
    if output == "all":
        return service.objects()
    return [] if output == "train" else service.stats()


def _image(service: Service, form: Form) -> Response:
    """A scan as NIfTI, whatever its files are: viewers open that, and its voxels are those that the model sees."""
    image = service.images().get(form.query.get("image", ""))
    return _file(service, service.images().read(image, service.models.catalogue()), image.id)


def _image_info(service: Service, form: Form) -> Any:
    image = service.images().get(form.query.get("image", ""))
    item = service.images().item(image)
    return {"name": image.id, "shape": list(item.shape), "spacing": list(item.spacing)}


def _label(service: Service, form: Form) -> Response:
    image = service.images().get(form.query.get("label", ""))
    return _file(service, service.images().label(image, form.query.get("tag", "")), image.id)


def _label_info(service: Service, form: Form) -> Any:
    image = service.images().get(form.query.get("label", ""))
    return service.images().tags(image).get(form.query.get("tag", ""), {"info": {}})["info"]


def _file(service: Service, volume: Volume, name: str) -> Response:
    from urllib.parse import quote

    from starlette.responses import Response

    headers = {"content-disposition": f"attachment; filename*=utf-8''{quote(name, safe='')}.nii.gz"}
    with tempfile.TemporaryDirectory(prefix="voxgraft-serve-") as folder:
        target = Path(folder) / "volume.nii.gz"
        write(volume, target, service.models.catalogue(), None, {}, writer="nifti")
        return Response(target.read_bytes(), media_type="application/octet-stream", headers=headers)


def _sent(form: Form, field: str, what: str) -> tuple[str, Path]:
    if (sent := form.file(field)) is None:
        raise Refused(400, f"no {what} was sent: send it in the field `{field}`")
    return sent


def _add(service: Service, form: Form) -> Any:
    called, path = _sent(form, "file", "image")
    name = form.query.get("image") or Path(called.replace("\\", "/")).name.removesuffix(ending(called))
    return {"image": service.images().add(name, path)}


def _save(service: Service, form: Form) -> Any:
    called, path = _sent(form, "label", "label")
    return service.save(form.query.get("image", ""), form.query.get("tag", ""), form.params, path, called)


def _begin(service: Service, form: Form) -> Any:
    files = {f"{number:05d}-{called}": path for number, (_, called, path) in enumerate(form.files)}
    try:
        expiry = float(form.query.get("expiry", 0))
    except ValueError:
        expiry = 0.0
    name = service.uploads.add(files, expiry)
    return {"session_id": name, "session_info": {"name": name, **service.uploads.info(name)}}


def _session(service: Service, form: Form) -> Any:
    return {"name": form.path["session"], **service.uploads.info(form.path["session"])}


def _end(service: Service, form: Form) -> Any:
    return {"name": form.path["session"], **service.uploads.remove(form.path["session"])}


def _train_status(service: Service, form: Form) -> Any:
    if form.query.get("check_if_running", "").lower() in ("true", "1"):
        raise Refused(404, f"nothing is being trained: {NOT_TRAINED}")
    return {"status": "NOT TRAINED HERE", "details": [NOT_TRAINED]}


def _train(service: Service, form: Form) -> Any:
    raise Refused(501, NOT_TRAINED)
