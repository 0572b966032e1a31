from phi2demo.ui.sessions import Sessions


def test_stop_reaches_what_runs_and_the_entry_goes_with_it() -> None:
    sessions = Sessions()
    assert sessions.begin("page", "translation")
    assert not sessions.begin("page", "translation")
    with sessions.running("page", "translation") as event:
        assert not event.is_set()
        assert sessions.stop("page", "translation")
        assert event.is_set()
    assert len(sessions) == 0
    assert not sessions.stop("page", "translation")


def test_stop_while_it_waits_ends_it_before_it_begins() -> None:
    sessions = Sessions()
    sessions.begin("page", "translation")
    sessions.stop("page", "translation")
    with sessions.running("page", "translation") as event:
        assert event.is_set()


def test_what_waits_can_leave_once_and_what_runs_cannot() -> None:
    sessions = Sessions()
    assert not sessions.leave("page", "translation")
    sessions.begin("page", "translation")
    assert sessions.leave("page", "translation")
    assert not sessions.leave("page", "translation")
    assert not sessions.stop("page", "translation")
    assert not sessions.present("page", "translation")
    assert sessions.drop("page", "translation")
    sessions.begin("page", "translation")
    with sessions.running("page", "translation") as event:
        assert not sessions.leave("page", "translation")
        assert not event.is_set()
    assert not sessions.drop("page", "translation")


def test_a_new_request_is_not_stopped_by_an_old_stop() -> None:
    sessions = Sessions()
    sessions.begin("page", "translation")
    sessions.stop("page", "translation")
    assert sessions.begin("page", "translation")
    with sessions.running("page", "translation") as event:
        assert not event.is_set()


def test_pages_and_tabs_are_apart() -> None:
    sessions = Sessions()
    with sessions.running("one", "translation") as mine, sessions.running("two", "translation") as theirs:
        with sessions.running("one", "generation") as other:
            sessions.stop("one", "translation")
            assert mine.is_set()
            assert not theirs.is_set()
            assert not other.is_set()
        sessions.close("two")
        assert theirs.is_set()
