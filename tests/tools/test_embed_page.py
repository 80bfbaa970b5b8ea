"""tools/embed_page.py: what a browser gets is what the page says, shorter."""
import pathlib
import shutil
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools"))
import embed_page  # noqa: E402: not installed anywhere


@pytest.mark.parametrize("script, expected", [
    ("const value = a => a + 1", "const b=a=>a+1"),
    ("const total = (first || 0) + +second.total", "const a=(first||0)+ +second.total"),
    ("let text = \"a = b + text\", rest = 'x : y'", "let b=\"a = b + text\",a='x : y'"),
    ("const found = line.match(/le = \"(.*)\"/)[1]", "const a=line.match(/le = \"(.*)\"/)[1]"),
    ("const size = {size: 1, other: [...sizes].map((item, i) => item.size)}", "const size={size:1,other:[...sizes].map((a,i)=>a.size)}"),
    ("for (const [, name, count] of pairs) return name", "for(const[,a,b]of pairs)return a"),
])
def test_names_are_short_and_texts_patterns_and_properties_stay(script, expected):
    assert embed_page.tight(script) == expected


def test_the_dashboard_is_still_a_script(tmp_path):
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is not installed")
    page = embed_page.essence((ROOT / "src/supervisor/dashboard.html").read_text())
    script = tmp_path / "page.js"
    script.write_text(page.partition("<script>")[2].partition("</script>")[0])
    subprocess.run([node, "--check", script], check=True)
    assert len(page) < 6500
