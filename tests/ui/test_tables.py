from phi2demo.ui import tables


def test_numbers_stand_under_their_names_and_tell_them_where_there_is_no_room_for_columns() -> None:
    names = ("Task", "Metric", "n", "<p>")
    assert tables.head(names) == (
        '<thead><tr><th scope="col">Task</th><th scope="col">Metric</th><th scope="col" class="number">n</th>'
        '<th scope="col" class="number">&lt;p&gt;</th></tr></thead>'
    )
    assert tables.cells(names[2:], ("3", "<b>0.1</b>")) == (
        '<td class="number" data-label="n">3</td><td class="number" data-label="&lt;p&gt;"><b>0.1</b></td>'
    )
    assert tables.cells(names[:1], ("a",), words=1) == '<td data-label="Task">a</td>'


def test_a_region_of_figures_is_reached_by_keyboard() -> None:
    html = tables.region("<table></table>", "All <b>")
    assert 'role="region" tabindex="0" aria-label="All &lt;b&gt;"' in html
