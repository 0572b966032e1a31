"""Which click on the Compare tab calls which handler."""

from phi2demo.ui.compare_handlers import CompareHandlers
from phi2demo.ui.compare_tab import CompareTab
from phi2demo.ui.events import AT_ONCE, connect_answers


def connect_compare(tab: CompareTab, handlers: CompareHandlers) -> None:
    """Connect the events of the tab. Answers are marked as they come, and by what was chosen while they came."""
    for ran in connect_answers(tab, handlers):
        ran.success(handlers.mark, [tab.marks, tab.found], tab.marked(), **AT_ONCE)
    tab.task.input(handlers.choose, tab.task, tab.chosen(), **AT_ONCE)
    tab.marks.input(handlers.mark, [tab.marks, tab.found], tab.marked(), **AT_ONCE)
