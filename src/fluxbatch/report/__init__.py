"""What came of a run: `report.md` for Prefect and the terminal, and `report.html`, one page that needs nothing else."""

from fluxbatch.report.markdown import REPORT as REPORT
from fluxbatch.report.markdown import picture_rows as picture_rows
from fluxbatch.report.markdown import spend_rows as spend_rows
from fluxbatch.report.markdown import to_markdown as to_markdown

HTML = "report.html"
