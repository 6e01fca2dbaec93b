"""vega_script.py FILE: Vega, Vega-Lite and vega-embed as one script, from the vl-convert-python wheel (BSD-3-Clause, as they are)."""
import pathlib
import sys

import vl_convert

script = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;")
notice = f"/* Vega {vl_convert.get_vega_version()}, vega-embed {vl_convert.get_vega_embed_version()}: BSD-3-Clause, https://vega.github.io */\n"
pathlib.Path(sys.argv[1]).write_text(notice + script.replace("</script", "<\\/script"))
