"""What a page of the built site loads, and what its first paint waits for.

The theme brings twelve style sheets, three fonts of icons and a dozen scripts, of which every page waits for most. Here one
style sheet is left, with the rules that some page can use, one font with the icons that these rules show, and scripts that
run when the page stands. Pages look as before: no rule is changed, and the order of the rules stays.
"""

import hashlib
import posixpath
import re
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from PIL import Image

FONT_AWESOME = "_static/scripts/fontawesome.js"
SHEET = "_static/site.css"
LINK = re.compile(r'[ \t]*<link(?=[^>]*\brel="stylesheet")[^>]*\bhref="((?:\.\./)*)(_static/[^"?]+\.css)(?:\?[^"]*)?"[^>]*>\n?')
# Bootstrap puts these classes' names together when a tooltip opens, so that no page or script has them whole.
COMPOSED = re.compile(r"\.bs-tooltip-(auto|top|end|bottom|start)\b")


def lighten(html: Path) -> None:
    """Make the pages of a built site light, in place: each step changes the texts of all of them, {page: HTML}."""
    pages = {page: page.read_text(encoding="utf-8") for page in html.rglob("*.html")}
    for step in (icons, pictures, one_sheet, late_scripts):
        step(html, pages)
    for page, text in pages.items():
        page.write_text(text, encoding="utf-8")


# ---- pictures

def icons(html: Path, pages: dict[Path, str]) -> None:
    """Put a style sheet with the dozen icons that the pages use in place of Font Awesome's script, 1.5 MB."""
    if not (html / FONT_AWESOME).is_file():
        return
    used = {name for text in pages.values() for found in re.findall(r'<i [^>]*class="([^"]*)"|<span class="(fa[^"]*)"', text)
            for name in re.findall(r"\bfa-([a-z-]+)", " ".join(found))}
    script, rules = (html / FONT_AWESOME).read_text(encoding="utf-8"), []
    for name in sorted(used):
        drawn = re.findall(rf'[{{,]"?{name}"?:\[(\d+),(\d+),\[[^\]]*\],"\w+","([^"]+)"', script)
        if drawn:  # others, fa-solid and fa-lg, are no icons; brands come first, then outlines, then the solid ones
            width, height, path = drawn[-1]
            picture = f"%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {width} {height}'%3E%3Cpath d='{path}'/%3E%3C/svg%3E"
            rules.append(f""".fa-{name} {{ --icon: url("data:image/svg+xml,{picture}"); aspect-ratio: {width} / {height}; }}""")
    solid = ":is(i, span):is(.fa-solid, .fas, .fa-brands, .fab, .fa-regular, .far)"
    rules.append(f"{solid} {{ display: inline-block; height: 1em; background: currentColor; mask: var(--icon) center / contain no-repeat; }}\n"
                 f"{solid}::before {{ content: none; }}")
    (html / "_static/icons.css").write_text("\n".join(rules) + "\n", encoding="utf-8")
    for page, text in pages.items():
        pages[page] = re.sub(rf'<script[^>]* src="([^"]*){FONT_AWESOME}[^"]*"></script>',
                             r'<link rel="stylesheet" href="\1_static/icons.css" />', text)
    for left in (html / "_static/scripts").glob("fontawesome.js*"):
        left.unlink()


def pictures(html: Path, pages: dict[Path, str]) -> None:
    """Put the same pictures as WebP, without loss, in place of the pages' PNGs, where that is smaller."""
    lighter, found = {}, sorted(html.glob("_images/*.png"))
    with ThreadPoolExecutor() as pool:  # Pillow lets another thread work while it compresses
        list(pool.map(lambda picture: Image.open(picture).save(picture.with_suffix(".webp"), lossless=True, method=6), found))
    for picture in found:
        other = picture.with_suffix(".webp")
        if other.stat().st_size < picture.stat().st_size:
            lighter[picture.name] = other.name
        (picture if picture.name in lighter else other).unlink()
    for page, text in pages.items():
        pages[page] = re.sub(r'(?<=_images/)([^"/]+\.png)', lambda found: lighter.get(found[1], found[1]), text)


# ---- one style sheet

def one_sheet(html: Path, pages: dict[Path, str]) -> None:
    """Put one style sheet, with the rules that some page can use, in place of those in the pages' heads."""
    names = []
    for text in pages.values():
        names += [name for _, name in LINK.findall(head(text)) if name not in names and (html / name).is_file()]
    if not names:
        return
    words = set()
    for text in [*pages.values(), *(script.read_text(encoding="utf-8") for script in html.rglob("*.js"))]:
        words.update(re.findall(r"[\w-]+", text))
    sheet = '@charset "UTF-8";\n' + icon_font(html, prune("\n".join(flat(html, name) for name in names), words))
    (html / SHEET).write_text(sheet, encoding="utf-8")
    digest = hashlib.sha256(sheet.encode()).hexdigest()[:8]

    for page, text in pages.items():
        links = [link for link in LINK.finditer(head(text)) if link[2] in names]
        for link in reversed(links[1:]):
            text = text[:link.start()] + text[link.end():]
        if links:
            one = f'<link rel="stylesheet" href="{links[0][1]}{SHEET}?v={digest}" />\n'
            pages[page] = text[:links[0].start()] + one + text[links[0].end():]
    for name in names:
        (html / name).unlink()


def head(text: str) -> str:
    return text.partition("</head>")[0]


def flat(html: Path, name: str) -> str:
    """A style sheet with those that it imports in their places, and with addresses as from _static/."""
    css = (html / name).read_text(encoding="utf-8")
    folder = posixpath.dirname(name)

    def address(found):
        quote, target = found[1], found[2]
        if re.match(r"data:|#|\w+://", target):
            return found[0]
        return f"url({quote}{posixpath.relpath(posixpath.join(folder, target), '_static')}{quote})"

    css = re.sub(r"url\(([\"']?)((?:data:.*?|[^)\"']*))\1\)", address, css)
    return re.sub(r"""@import (?:url\()?["']?([^"')]+)["']?\)?;""", lambda found: flat(html, posixpath.normpath(posixpath.join(folder, found[1]))), css)


STRING = r"""("(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*')"""


def rules(css: str) -> Iterator[tuple[str, str | None]]:
    """The rules of a style sheet: what stands before the braces and what in them, None for a statement such as @charset."""
    css = re.sub(rf"{STRING}|/\*.*?\*/", lambda found: found[1] or "", css, flags=re.S)
    start, depth, prelude = 0, 0, ""
    for part in re.finditer(rf"{STRING}|[{{}};]", css):
        if part[0] == "{":
            if depth == 0:
                prelude, start = css[start:part.start()].strip(), part.end()
            depth += 1
        elif part[0] == "}":
            depth -= 1
            if depth == 0:
                yield prelude, css[start:part.start()].strip()
                start = part.end()
        elif part[0] == ";" and depth == 0:
            yield css[start:part.start()].strip(), None
            start = part.end()


def prune(css: str, words: set[str]) -> str:
    """The style sheet without the rules that can match nothing in pages made of these words."""
    kept = []
    for prelude, body in rules(css):
        if body and re.match("@(media|supports)", prelude):
            body = prune(body, words)
        if body and not prelude.startswith("@"):
            prelude = ",".join(selector for selector in split(prelude) if can_match(selector, words))
        if body and prelude:
            kept.append(f"{prelude}{{{body}}}")
    return "\n".join(kept)


def split(selectors: str) -> list[str]:
    """A list of selectors at the commas that stand outside parentheses."""
    out, depth = [""], 0
    for part in re.findall(rf"{STRING}|(.)", selectors, re.S):
        character = "".join(part)
        depth += {"(": 1, ")": -1}.get(character, 0)
        if character == "," and depth == 0:
            out.append("")
        else:
            out[-1] += character
    return [selector.strip() for selector in out]


def can_match(selector: str, words: set[str]) -> bool:
    """Whether all elements, classes and ids that a selector asks for are words of the pages; what stands in parentheses
    or brackets is not looked at."""
    bare = re.sub(r"\[[^\]]*\]", "", selector)
    while (shorter := re.sub(r"\([^()]*\)", "", bare)) != bare:
        bare = shorter
    bare = COMPOSED.sub("", re.sub(r"(?<!\\)::?[\w-]+", "", bare))
    return all(name in words for name in re.findall(r"[\w-]+", bare))


def icon_font(html: Path, sheet: str) -> str:
    """The sheet with, of each of Font Awesome's fonts, only the icons that its rules show, in the sheet's folder."""
    from fontTools import subset

    shown = {ord(icon) for icon in re.findall("[\uE000-\uF8FF]", sheet)}  # the font's codes, as they are or escaped
    shown |= {int(code, 16) for code in re.findall(r"\\([ef][0-9a-f]{3})\b", sheet)}

    def smaller(face):
        source = re.search(r"url\(([^)]*fontawesome[^)]*/([^/)]+)\.ttf)\)", face[0])
        if not source:
            return face[0]
        options = subset.Options(flavor="woff", layout_features=[], notdef_outline=True, recalc_timestamp=False)
        font = subset.load_font(html / "_static" / source[1], options)
        drawn = shown & set(font.getBestCmap())
        if not drawn:
            return ""
        cutter = subset.Subsetter(options)
        cutter.populate(unicodes=drawn)
        cutter.subset(font)
        subset.save_font(font, html / "_static" / f"{source[2]}.woff", options)
        return re.sub(r"src:[^;}]*", f'src:url({source[2]}.woff) format("woff")', face[0])

    sheet = re.sub(r"@font-face\{[^}]*\}\n?", smaller, sheet)
    shutil.rmtree(html / "_static/vendor/fontawesome", ignore_errors=True)
    return sheet


# ---- scripts

SCRIPT = re.compile(r'[ \t]*<script(?![^>]*\bdefer\b)([^>]*) src="([^"?]*)([^"]*)"></script>\n?')
SEARCH = re.compile(r'[ \t]*<script[^>]* src="[^"]*(?:searchtools|language_data|searchindex)\.js"></script>\n?')
PRELOAD = re.compile(r'[ \t]*<link rel="preload" as="script"[^>]*>\n?')
OPTIONS = "_static/documentation_options.js"
# What the theme's script would do after the first paint: a dark page would flash.
THEME = """<script>{
  const mode = localStorage.getItem("mode") || "auto", dark = matchMedia("(prefers-color-scheme: dark)").matches;
  Object.assign(document.documentElement.dataset, { mode, theme: mode === "auto" ? (dark ? "dark" : "light") : mode });
}</script>"""


def late_scripts(html: Path, pages: dict[Path, str]) -> None:
    """Let the scripts of the pages' heads run when the page stands; those of the search only on its page."""
    if not (html / OPTIONS).is_file():
        return
    options = (html / OPTIONS).read_text(encoding="utf-8").strip()
    for page, text in pages.items():
        top, end, rest = text.partition("</head>")
        if not end:
            continue
        top = top.replace('data-theme="auto"', 'data-theme="light"', 1)  # for readers without JavaScript
        top = re.sub(r'<script data-cfasync="false">.*?</script>', lambda found: THEME, top, flags=re.S)
        top = PRELOAD.sub("", top)
        if page.name != "search.html":
            top = SEARCH.sub("", top)
        top = SCRIPT.sub(lambda found: f"    <script>{options}</script>\n" if found[2].endswith(OPTIONS) else
                         f'    <script defer{found[1]} src="{found[2]}{found[3]}"></script>\n', top)
        pages[page] = top + end + rest
