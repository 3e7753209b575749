//! What a node that waits asks, believes and answers.

use super::*;
use crate::cluster::change::{Change, Fate};
use crate::cluster::worlds::{
    begun, document_of, finished, hello_of, join, membership, name, newcomer as new_node,
    settings_of,
};
use paravon_model::Membership;

const START: Duration = Duration::ZERO;

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

fn members(names: &[&str]) -> Peers {
    let mut peers = Peers::default();
    for (ordinal, text) in (1..).zip(names) {
        let membership = Some(membership(ordinal));
        peers.linked(START, &PeerHello { membership, ..hello_of(text) });
    }
    peers
}

fn wish(joiner: &mut Joiner, token: u64) {
    joiner.wish(START, AdminToken(token), Goal::Join, OperateMode::Do);
}

#[test]
fn it_asks_one_member_after_the_other_by_one_name() {
    let settings = settings_of("x", &["a"]);
    let peers = members(&["a", "b"]);
    let mut joiner = Joiner::new(&settings, None);
    assert_eq!(joiner.ask(START, &settings, &peers, ChangeId(1)), None, "nobody wants it");
    wish(&mut joiner, 1);
    let first = joiner.ask(START, &settings, &peers, ChangeId(1));
    assert_eq!(first, Some((name("a"), ChangeId(1), join("x"))));
    assert_eq!(joiner.ask(START, &settings, &peers, ChangeId(2)), None);
    let second = joiner.ask(seconds(1), &settings, &peers, ChangeId(2));
    assert_eq!(second, Some((name("b"), ChangeId(1), join("x"))));
}

#[test]
fn it_asks_and_enters_one_cluster_alone() {
    let settings = settings_of("x", &["a"]);
    let mut peers = members(&["b", "c"]);
    let mut joiner = Joiner::new(&settings, None);
    wish(&mut joiner, 1);
    let mut asked = Vec::new();
    for second in 0..6 {
        let ask = joiner.ask(seconds(second), &settings, &peers, ChangeId(5));
        asked.extend(ask.map(|(whom, ..)| whom));
        let place = Membership { cluster_id: ClusterId(2), ..membership(1) };
        peers.linked(START, &PeerHello { membership: Some(place), ..hello_of("a") });
    }
    assert_eq!(asked, ["b", "c", "b", "c", "b", "c"].map(name));

    let own = begun(&document_of(&["b", "c"]), &[(5, join("x"))]);
    let other = Document { cluster_id: ClusterId(2), ..own.clone() };
    assert_eq!(joiner.number(&name("x"), &own), Some(Ordinal(3)));
    assert_eq!(joiner.number(&name("x"), &other), None);
    joiner.sees(&Arc::new(other));
    assert!(joiner.seen().is_none());
}

#[test]
fn only_its_own_operation_gives_it_a_number() {
    let settings = settings_of("x", &["a"]);
    let own = name("x");
    let number = |change: Option<u128>, document: &Document| {
        Joiner::new(&settings, change.map(ChangeId)).number(&own, document)
    };
    let joint = begun(&document_of(&["a"]), &[(5, join("x"))]);
    assert_eq!(number(Some(5), &joint), Some(Ordinal(2)));
    assert_eq!(number(Some(5), &finished(&joint)), Some(Ordinal(2)));
    assert_eq!(number(None, &joint), None, "a lost disk");
    assert_eq!(number(Some(6), &joint), None);
    let cancel = Change::Cancel { fence: joint.fence, fate: Fate::Overtaken };
    let overtaken = cancel.successor(&joint).expect("it is under way");
    assert_eq!(number(Some(5), &overtaken), None, "it waits again");
}

#[test]
fn one_whose_change_was_overtaken_is_awaited_and_one_given_up_is_not() {
    let settings = settings_of("x", &["a"]);
    let joint = begun(&document_of(&["a"]), &[(5, join("x"))]);
    let is_awaited = |fate: Fate| {
        let cancel = Change::Cancel { fence: joint.fence, fate };
        let after = cancel.successor(&joint).expect("it is under way");
        let mut joiner = Joiner::again(&settings, ChangeId(5), Past::default(), None);
        assert!(!joiner.is_awaited(), "nothing is known");
        joiner.sees(&Arc::new(after));
        joiner.is_awaited()
    };
    assert!(is_awaited(Fate::Overtaken));
    assert!(!is_awaited(Fate::GivenUp));
}

#[test]
fn one_whose_change_was_overtaken_asks_for_something_else_by_another_name() {
    let settings = settings_of("x", &["a"]);
    let peers = members(&["a", "b"]);
    let joint = begun(&document_of(&["a", "b"]), &[(5, join("x"))]);
    let cancel = Change::Cancel { fence: joint.fence, fate: Fate::Overtaken };
    let overtaken = Arc::new(cancel.successor(&joint).expect("it is under way"));
    let kind = OperationKind::Replace { member: Ordinal(2), by: new_node("x") };
    let replace = (Goal::Replace(name("b")), ChangeId(6), kind);
    for (goal, id, kind) in [replace, (Goal::Join, ChangeId(5), join("x"))] {
        let mut joiner = Joiner::again(&settings, ChangeId(5), Past::default(), None);
        joiner.sees(&overtaken);
        joiner.wish(START, AdminToken(1), goal, OperateMode::Do);
        let asked = joiner.ask(START, &settings, &peers, ChangeId(6));
        assert_eq!(asked, Some((name("a"), id, kind.clone())));
        let asked = joiner.ask(seconds(1), &settings, &peers, ChangeId(7));
        assert_eq!(asked, Some((name("b"), id, kind)), "by one name from then on");
    }
}

#[test]
fn it_takes_no_number_again_that_it_has_had() {
    let settings = settings_of("x", &["a"]);
    let joint = begun(&document_of(&["a", "b"]), &[(5, join("x"))]);
    let cancel = Change::Cancel { fence: joint.fence, fate: Fate::Overtaken };
    let waiting = cancel.successor(&joint).expect("it is under way");
    let begin = Change::Begin { operations: [ChangeId(5)].into(), stored: 0 };
    let again = begin.successor(&waiting).expect("it waits");
    let past = Joiner::new(&settings, Some(ChangeId(5))).take_past(Some(Ordinal(3)));
    // Also where it asks by another name since, and was no member in between.
    let past = Joiner::again(&settings, ChangeId(6), past, None).take_past(None);
    let joiner = Joiner::again(&settings, ChangeId(7), past, None);
    for stale in [&joint, &finished(&joint)] {
        assert_eq!(joiner.number(&name("x"), stale), None);
    }
    for later in [&again, &finished(&again)] {
        assert_eq!(joiner.number(&name("x"), later), Some(Ordinal(4)));
    }
}

#[test]
fn names_are_remembered_once_and_only_so_many() {
    let settings = settings_of("x", &["a"]);
    let mut past = Past::default();
    for _ in 0..3 {
        past = Joiner::again(&settings, ChangeId(5), past, None).take_past(None);
    }
    assert_eq!(past.former, [ChangeId(5)]);
    for name in 6..99 {
        past = Joiner::again(&settings, ChangeId(name), past, None).take_past(None);
    }
    assert_eq!((past.former.len(), past.former.last()), (MAX_FORMER, Some(&ChangeId(98))));
}

#[test]
fn who_is_replaced_is_told_by_a_document_that_is_not_outdated() {
    let settings = settings_of("b", &["a"]);
    let peers = members(&["a"]);
    let replace = |number| OperationKind::Replace { member: Ordinal(number), by: new_node("b") };
    let old = Arc::new(document_of(&["a", "b"]));
    let later = finished(&begun(&old, &[(9, replace(2))]));
    let mut member = Joiner::new(&settings, None);
    member.outdate(old.revision());
    let seen = Some(KnownDocument::new(Arc::clone(&old)));
    let mut joiner = Joiner::again(&settings, ChangeId(1), member.take_past(None), seen);
    for (token, mode) in [(1, OperateMode::Do), (2, OperateMode::Plan)] {
        joiner.wish(START, AdminToken(token), Goal::Replace(name("b")), mode);
    }
    assert_eq!(joiner.ask_for_document(START, &peers), Some(name("a")));
    joiner.sees(&old);
    assert_eq!(joiner.answers(START, &settings, &peers), [], "a lags");
    assert_eq!(joiner.ask(seconds(1), &settings, &peers, ChangeId(1)), None);
    joiner.sees(&Arc::new(later));
    let planned = joiner.answers(seconds(1), &settings, &peers);
    assert!(matches!(planned[..], [(AdminToken(2), Ok(OperateDone::Planned { .. }))]));
    let asked = joiner.ask(seconds(1), &settings, &peers, ChangeId(1));
    assert_eq!(asked, Some((name("a"), ChangeId(1), replace(3))));
}

#[test]
fn what_was_refused_is_planned_anew() {
    let settings = settings_of("x", &["a"]);
    let peers = members(&["a"]);
    let before = document_of(&["a", "b"]);
    let by = new_node("b");
    let later = begun(&before, &[(9, OperationKind::Replace { member: Ordinal(2), by })]);
    let mut joiner = Joiner::new(&settings, None);
    let mut asked_for = Vec::new();
    for (second, document) in (1..).zip([before, finished(&later)]) {
        joiner.sees(&Arc::new(document));
        joiner.wish(START, AdminToken(second), Goal::Replace(name("b")), OperateMode::Do);
        let fresh = ChangeId(second.into());
        let (_, id, kind) = joiner.ask(seconds(second), &settings, &peers, fresh).expect("it asks");
        let gone = OperationRefusal::NoSuchMember { member: Ordinal(2) };
        assert_eq!(joiner.refused(id, gone).len(), 1);
        asked_for.push((id.0, kind));
    }
    let replace = |number| OperationKind::Replace { member: Ordinal(number), by: new_node("x") };
    assert_eq!(asked_for, [(1, replace(2)), (2, replace(3))]);
}

#[test]
fn one_whose_change_was_overtaken_comes_by_whatever_it_had_asked_for() {
    let settings = settings_of("x", &["a"]);
    let replace = OperationKind::Replace { member: Ordinal(2), by: new_node("x") };
    let joint = begun(&document_of(&["a", "b"]), &[(6, replace)]);
    let past = Joiner::new(&settings, Some(ChangeId(6))).take_past(None);
    let past = Joiner::of_member(&settings, past).take_past(None);
    let joiner = Joiner::again(&settings, ChangeId(5), past, None);
    assert_eq!(joiner.number(&name("x"), &joint), Some(Ordinal(3)));
}

#[test]
fn one_that_replaces_its_like_takes_the_new_number_and_never_the_old_one() {
    let settings = settings_of("b", &["a"]);
    let replace = OperationKind::Replace { member: Ordinal(2), by: new_node("b") };
    let before = document_of(&["a", "b", "c"]);
    let enqueue = Change::Enqueue([(ChangeId(5), replace.clone())].into());
    let waiting = enqueue.successor(&before).expect("it waits");
    let joiner = Joiner::new(&settings, Some(ChangeId(5)));
    assert_eq!(joiner.number(&name("b"), &waiting), None);
    let joint = begun(&before, &[(5, replace)]);
    assert_eq!(joiner.number(&name("b"), &joint), Some(Ordinal(4)));
    assert_eq!(joiner.number(&name("b"), &finished(&joint)), Some(Ordinal(4)));
}

#[test]
fn an_operation_whose_member_has_left_gives_no_number_and_is_not_asked_for_again() {
    let settings = settings_of("x", &["a"]);
    let peers = members(&["a"]);
    let came = finished(&begun(&document_of(&["a", "b"]), &[(5, join("x"))]));
    let remove = OperationKind::Remove { member: Ordinal(3) };
    let replace = OperationKind::Replace { member: Ordinal(3), by: new_node("x") };
    for (leaves, is_there) in [(remove, false), (replace, true)] {
        let after = finished(&begun(&came, &[(6, leaves)]));
        assert_eq!(after.member_named(&name("x")).is_some(), is_there);
        let mut joiner = Joiner::new(&settings, Some(ChangeId(5)));
        assert_eq!(joiner.number(&name("x"), &after), None, "the like of it is there: {is_there}");
        wish(&mut joiner, 1);
        let asked = |joiner: &mut Joiner, at| {
            joiner.ask(at, &settings, &peers, ChangeId(7)).map(|(_, id, _)| id)
        };
        assert_eq!(asked(&mut joiner, START), Some(ChangeId(5)));
        assert_eq!(joiner.sees(&Arc::new(after)), []);
        assert_eq!(asked(&mut joiner, seconds(1)), Some(ChangeId(7)));
    }
}

#[test]
fn whom_it_replaces_is_known_once_a_document_is_seen() {
    let settings = settings_of("x", &["a"]);
    let peers = members(&["a", "b"]);
    let mut joiner = Joiner::new(&settings, None);
    joiner.wish(START, AdminToken(1), Goal::Replace(name("b")), OperateMode::Do);
    assert_eq!(joiner.ask(START, &settings, &peers, ChangeId(1)), None);
    assert_eq!(joiner.ask_for_document(START, &peers), Some(name("a")));
    assert_eq!(joiner.ask_for_document(START, &peers), None, "it has just asked");
    assert_eq!(
        joiner.ask_for_document(seconds(1), &peers),
        Some(name("b")),
        "a may have missed it"
    );
    joiner.sees(&Arc::new(document_of(&["a", "b"])));
    let kind = OperationKind::Replace { member: Ordinal(2), by: new_node("x") };
    let asked = joiner.ask(seconds(2), &settings, &peers, ChangeId(1));
    assert_eq!(asked, Some((name("a"), ChangeId(1), kind)));
    assert_eq!(joiner.ask_for_document(seconds(9), &peers), None);

    joiner.wish(START, AdminToken(2), Goal::Replace(name("z")), OperateMode::Do);
    let none = (AdminToken(2), Err(OperateFailure::NoSuchNode));
    assert!(joiner.answers(START, &settings, &peers).contains(&none));
}

#[test]
fn an_administrator_is_answered_in_every_case() {
    let settings = settings_of("x", &["a"]);
    let nobody = Peers::default();
    let peers = members(&["a"]);
    let mut joiner = Joiner::new(&settings, None);
    wish(&mut joiner, 1);
    assert_eq!(joiner.answers(seconds(4), &settings, &nobody), []);
    let none = [(AdminToken(1), Err(OperateFailure::NoCluster))];
    assert_eq!(joiner.answers(seconds(5), &settings, &nobody), none);

    joiner.wish(START, AdminToken(2), Goal::Join, OperateMode::Plan);
    joiner.sees(&Arc::new(document_of(&["a"])));
    let planned = joiner.answers(START, &settings, &peers);
    let [(AdminToken(2), Ok(OperateDone::Planned { document }))] = &planned[..] else { panic!() };
    assert_eq!(document.joint().map(|joint| joint.next.members.len()), Some(2));

    wish(&mut joiner, 3);
    let (_, id, _) = joiner.ask(START, &settings, &peers, ChangeId(9)).expect("it asks");
    assert_eq!(joiner.refused(id, OperationRefusal::NoMajority), []);
    let late = [(AdminToken(3), Err(OperateFailure::Refused(OperationRefusal::NoMajority)))];
    assert_eq!(joiner.answers(seconds(30), &settings, &peers), late);

    wish(&mut joiner, 4);
    let taken = OperationRefusal::NameTaken { member: Ordinal(1) };
    let refused = joiner.refused(id, taken);
    assert_eq!(refused, [(AdminToken(4), Err(OperateFailure::Refused(taken)))]);
}

#[test]
fn what_the_council_was_asked_to_vote_for_may_still_be() {
    let settings = settings_of("x", &["a"]);
    let peers = members(&["a"]);
    let mut joiner = Joiner::new(&settings, None);
    wish(&mut joiner, 1);
    joiner.ask(START, &settings, &peers, ChangeId(9)).expect("it asks");
    joiner.refused(ChangeId(9), OperationRefusal::NoMajority);
    joiner.may_still_be(ChangeId(9));
    let timed_out = |token| [(AdminToken(token), Err(OperateFailure::TimedOut))];
    assert_eq!(joiner.refused(ChangeId(9), OperationRefusal::NoMajority), []);
    assert_eq!(joiner.answers(seconds(30), &settings, &peers), timed_out(1));
    wish(&mut joiner, 2);
    let lacks = OperationRefusal::NextHasNoMajority;
    assert_eq!(joiner.refused(ChangeId(9), lacks), timed_out(2));
    wish(&mut joiner, 3);
    let taken = OperationRefusal::NameTaken { member: Ordinal(1) };
    let refused = [(AdminToken(3), Err(OperateFailure::Refused(taken)))];
    assert_eq!(joiner.refused(ChangeId(9), taken), refused);
}

#[test]
fn what_was_given_up_is_asked_for_by_another_name_and_only_when_told() {
    let mut settings = settings_of("x", &["a"]);
    settings.auto_join = true;
    let peers = members(&["a"]);
    let mut joiner = Joiner::new(&settings, None);
    wish(&mut joiner, 1);
    joiner.ask(START, &settings, &peers, ChangeId(9)).expect("it asks");
    let joint = begun(&document_of(&["a"]), &[(9, join("x"))]);
    let cancel = Change::Cancel { fence: joint.fence, fate: Fate::GivenUp };
    let cancelled = cancel.successor(&joint).expect("it is under way");
    let given_up = [(AdminToken(1), Err(OperateFailure::TimedOut))];
    assert_eq!(joiner.sees(&Arc::new(cancelled)), given_up);
    assert_eq!(joiner.ask(seconds(9), &settings, &peers, ChangeId(10)), None);
    assert_eq!(joiner.change(), Some(ChangeId(9)), "one that has asked never founds");
    wish(&mut joiner, 2);
    let again = joiner.ask(seconds(9), &settings, &peers, ChangeId(10));
    assert_eq!(again.map(|(_, id, _)| id), Some(ChangeId(10)));
}

#[test]
fn one_that_asks_to_join_by_itself_asks_for_what_an_administrator_wants_instead() {
    let mut settings = settings_of("b", &["a"]);
    settings.auto_join = true;
    let peers = members(&["a"]);
    let mut joiner = Joiner::new(&settings, None);
    joiner.sees(&Arc::new(document_of(&["a", "b"])));
    joiner.ask(START, &settings, &peers, ChangeId(1)).expect("it asks by itself");
    joiner.wish(START, AdminToken(1), Goal::Replace(name("b")), OperateMode::Do);
    let taken = OperationRefusal::NameTaken { member: Ordinal(2) };
    assert_eq!(joiner.refused(ChangeId(1), taken), [], "nobody wants that any more");
    let kind = OperationKind::Replace { member: Ordinal(2), by: new_node("b") };
    let asked = joiner.ask(seconds(1), &settings, &peers, ChangeId(2));
    assert_eq!(asked, Some((name("a"), ChangeId(2), kind)));
}

#[test]
fn what_it_asked_for_before_makes_it_a_member_where_that_was_decided_all_the_same() {
    let settings = settings_of("x", &["a"]);
    let peers = members(&["a", "b"]);
    let mut joiner = Joiner::new(&settings, None);
    wish(&mut joiner, 1);
    joiner.ask(START, &settings, &peers, ChangeId(1)).expect("it asks");
    joiner.sees(&Arc::new(document_of(&["a", "b"])));
    joiner.wish(START, AdminToken(2), Goal::Replace(name("b")), OperateMode::Do);
    joiner.ask(seconds(1), &settings, &peers, ChangeId(2)).expect("it asks for something else");
    let joint = begun(&document_of(&["a", "b"]), &[(1, join("x"))]);
    assert_eq!(joiner.number(&name("x"), &joint), Some(Ordinal(3)));
}
