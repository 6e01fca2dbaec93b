"""draw_plots.py FILE.vl.json …: every description as .svg, .png and .pdf beside it. Exit code 3: no vl-convert-python."""
import pathlib
import sys

try:
    import vl_convert
except ImportError:
    sys.exit(3)

for name in sys.argv[1:]:
    path = pathlib.Path(name)
    spec = path.read_text()
    stem = path.name.removesuffix(".vl.json")
    path.with_name(stem + ".svg").write_text(vl_convert.vegalite_to_svg(spec))
    path.with_name(stem + ".png").write_bytes(vl_convert.vegalite_to_png(spec, scale=2))
    path.with_name(stem + ".pdf").write_bytes(vl_convert.vegalite_to_pdf(spec))
