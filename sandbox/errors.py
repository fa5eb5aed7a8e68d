"""Errors in Google's shape."""

from typing import Any

from fastapi import Request
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse

STATUS = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    409: "ALREADY_EXISTS",
    412: "FAILED_PRECONDITION",
    429: "RESOURCE_EXHAUSTED",
    500: "INTERNAL",
    501: "UNIMPLEMENTED",
    503: "UNAVAILABLE",
}


class ApiError(Exception):
    """An answer that is no success."""

    def __init__(self, code: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.message = message

    def body(self) -> dict[str, Any]:
        """What goes over the wire."""
        one = {"message": self.message, "domain": "global", "reason": self.reason}
        return {
            "error": {
                "code": self.code,
                "message": self.message,
                "errors": [one],
                "status": STATUS.get(self.code, "UNKNOWN"),
            }
        }


def invalid(message: str) -> ApiError:
    """The request itself is wrong."""
    return ApiError(400, "invalid", message)


def not_found(what: str) -> ApiError:
    """There is no such resource."""
    return ApiError(404, "notFound", f"The resource '{what}' was not found")


def already_exists(what: str) -> ApiError:
    """The name is taken."""
    return ApiError(409, "alreadyExists", f"The resource '{what}' already exists")


def condition_not_met(message: str) -> ApiError:
    """A stale fingerprint, generation or metageneration."""
    return ApiError(412, "conditionNotMet", message)


def not_implemented(what: str) -> ApiError:
    """The stand-in does not do this: never a silent yes."""
    return ApiError(501, "notImplemented", f"The sandbox does not implement {what}.")


async def answer_api_error(_: Request, error: Exception) -> JSONResponse:
    """The handler of ApiError."""
    assert isinstance(error, ApiError)  # noqa: S101 - registered for this class only
    headers = {"Retry-After": "1"} if error.code in {429, 503} else None
    return JSONResponse(error.body(), error.code, headers)


async def answer_no_route(request: Request, error: Exception) -> JSONResponse:
    """No such path, or not with this method: the real API may have it, the stand-in has not."""
    if isinstance(error, HTTPException) and error.status_code not in {404, 405}:
        return JSONResponse(
            ApiError(error.status_code, "invalid", str(error.detail)).body(), error.status_code
        )
    missing = not_implemented(f"{request.method} {request.url.path}")
    return JSONResponse(missing.body(), missing.code)


async def answer_bad_request(_: Request, error: Exception) -> JSONResponse:
    """FastAPI's 422 does not exist at Google."""
    return JSONResponse(invalid(f"Invalid request: {error}").body(), 400)
