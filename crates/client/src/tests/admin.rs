//! What is asked of peer ports.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use paravon_protocol::{AdminReply, AdminRequest};

use super::fake_server::{FakeServer, client};
use crate::{ClientError, ClusterStatus, JoinReply, MemberStatus, Outcome};

#[tokio::test]
async fn a_cluster_is_shown_and_a_join_is_planned_and_done() {
    let server = FakeServer::start(|_, mut peer| async move {
        while let Some((id, request)) = peer.admin_request().await {
            let reply = match request {
                AdminRequest::ClusterStatus => {
                    let member =
                        MemberStatus { node_id: "n".to_owned(), ..MemberStatus::default() };
                    let members = vec![member];
                    let status = ClusterStatus { members, ..ClusterStatus::default() };
                    AdminReply::ClusterStatus(Box::new(status))
                }
                AdminRequest::Join { dry_run } => {
                    let ordinal = (!dry_run).then_some(2);
                    AdminReply::Join(JoinReply {
                        ordinal,
                        planned: dry_run,
                        ..JoinReply::default()
                    })
                }
                other => panic!("{other:?}"),
            };
            peer.tell(id, &reply).await;
        }
    })
    .await;
    let client = client(&[&server.address]);
    assert_eq!(client.cluster_status().await.unwrap().members[0].node_id, "n");
    let planned = client.plan_join().await.unwrap();
    assert_eq!((planned.ordinal, planned.planned), (None, true));
    let joined = client.join().await.unwrap();
    assert_eq!((joined.ordinal, joined.planned), (Some(2), false));
}

#[tokio::test]
async fn a_join_whose_answer_is_lost_is_unknown_and_not_asked_again() {
    let requests = Arc::new(AtomicUsize::new(0));
    let counter = requests.clone();
    let server = FakeServer::start(move |_, mut peer| {
        let requests = counter.clone();
        async move {
            if peer.admin_request().await.is_some() {
                requests.fetch_add(1, Ordering::SeqCst);
            }
        }
    })
    .await;
    let error = client(&[&server.address]).join().await.unwrap_err();
    assert!(matches!(error, ClientError::Lost { outcome: Outcome::Unknown, .. }), "{error}");
    assert_eq!(requests.load(Ordering::SeqCst), 1);
}
