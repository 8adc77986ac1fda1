"""The style sheet of a report's page: light and dark, wide and narrow, no resource from outside."""

LIGHT = ("#0072b2", "#c44e00", "#00855f", "#a8327e", "#8a6a00", "#5b4fcf", "#b3261e", "#4a6572")
DARK = ("#5cb8f0", "#ff9a52", "#3ed6a5", "#f08cc8", "#e0bd4a", "#a79fff", "#ff8078", "#a9bfca")


def _series(colours: tuple[str, ...]) -> str:
    return " ".join(f"--c{i}: {c};" for i, c in enumerate(colours))


SHEET = f"""
:root {{
  color-scheme: light dark;
  --page: #ffffff; --ink: #1b1f24; --soft: #59636e; --line: #dde2e8; --shade: #f5f7f9; --best: #e3f1ff;
  {_series(LIGHT)}
}}
@media (prefers-color-scheme: dark) {{
  :root {{
    --page: #14171a; --ink: #e6e9ec; --soft: #9aa5b1; --line: #30363d; --shade: #1c2126; --best: #16324a;
    {_series(DARK)}
  }}
}}
* {{ box-sizing: border-box }}
body {{
  margin: 0 auto; max-width: 72rem; padding: 1.5rem 1rem 4rem; background: var(--page); color: var(--ink);
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif;
}}
h1 {{ font-size: 1.7rem; margin: 0 0 .25rem }}
h2 {{ font-size: 1.35rem; margin: 2.5rem 0 .25rem; border-top: 1px solid var(--line); padding-top: 1.5rem }}
h3 {{ font-size: 1.05rem; margin: 1.75rem 0 .5rem }}
p {{ margin: .25rem 0 .75rem }}
.soft {{ color: var(--soft); font-size: .9rem }}
small {{ color: var(--soft) }}
.wide {{ overflow-x: auto; margin: .5rem 0; border: 1px solid var(--line); border-radius: .5rem }}
table {{ border-collapse: collapse; width: 100%; font-size: .9rem; font-variant-numeric: tabular-nums }}
th, td {{ padding: .4rem .7rem; text-align: right; white-space: nowrap; border-top: 1px solid var(--line) }}
thead th {{ border-top: 0; background: var(--shade); font-weight: 600 }}
th:first-child, td:first-child {{ text-align: left; position: sticky; left: 0; background: var(--page) }}
thead th:first-child {{ background: var(--shade) }}
td.best {{ background: var(--best) }}
.failed th, .failed td {{ text-align: left }}
.failed td:last-child {{ white-space: normal; overflow-wrap: anywhere; min-width: 14rem }}
.plots {{ display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 24rem), 1fr)); gap: 1rem }}
figure {{ margin: 0; border: 1px solid var(--line); border-radius: .5rem; padding: .75rem }}
figure svg {{ display: block; width: 100%; height: auto }}
figcaption {{ font-weight: 600; font-size: .95rem; margin-bottom: .25rem }}
.legend {{ display: flex; flex-wrap: wrap; gap: .25rem 1rem; margin: .5rem 0; font-size: .9rem }}
details {{ margin: .4rem 0 }}
summary {{ cursor: pointer }}
pre {{
  overflow-x: auto; background: var(--shade); border: 1px solid var(--line); border-radius: .5rem; padding: .75rem;
  font-size: .8rem; line-height: 1.4;
}}
a {{ color: inherit }}
@media (max-width: 40rem) {{
  th, td {{ padding: .35rem .5rem }}
  th:first-child, td:first-child {{ white-space: normal; min-width: 7rem; max-width: 9rem; overflow-wrap: anywhere }}
  .failed td {{ white-space: normal; vertical-align: top }}
  .failed th:first-child, .failed td:first-child {{ position: static }}
}}
@media print {{ .wide {{ overflow: visible }} th, td {{ white-space: normal }} }}
"""
