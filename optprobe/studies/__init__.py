"""Studies: items that become records, run here or by many workers, resumed, limited, and never lost."""

from optprobe.studies.run import Outcome, run_study
from optprobe.studies.study import Item, Study, read_record, records_of

__all__ = ["Item", "Outcome", "Study", "read_record", "records_of", "run_study"]
