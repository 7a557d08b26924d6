"""The report as one HTML page that can be sent around: the printed report, the plots inside of it, the command."""

import base64
import html
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from emulator.errors import UsageError

_PAGE = """<!DOCTYPE html>
<html lang="en">
<head><meta charset="utf-8"><title>{title}</title>
<style>
body {{ font-family: sans-serif; margin: 2em auto; max-width: 90em; padding: 0 1em; }}
pre {{ overflow-x: auto; }}
img {{ max-width: 48%; }}
</style></head>
<body>
<h1>{title}</h1>
<p><code>{command}</code></p>
{printed}
{images}
</body>
</html>
"""


def write(printed: str, images: Sequence[Path], folder: Path, result: Mapping[str, Any]) -> Path:
    """Write ``report.html`` into a run folder: the printed report as rich exports it to HTML, and PNG files."""
    body = printed.partition("<body>")[2].partition("</body>")[0] or printed
    title = html.escape(f"{result['demo']}, {result['started']}")
    page = _PAGE.format(
        title=title,
        command=html.escape(shlex.join(result["command"])),
        printed=body,
        images="\n".join(_inline(path) for path in images),
    )
    path = folder / "report.html"
    try:
        path.write_text(page, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror or error}") from None
    return path


def _inline(image: Path) -> str:
    data = base64.b64encode(image.read_bytes()).decode()
    return f'<img alt="{html.escape(image.stem)}" src="data:image/png;base64,{data}">'
