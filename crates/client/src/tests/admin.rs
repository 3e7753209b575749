//! What is asked of peer ports.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use paravon_model::OperationState;
use paravon_protocol::{AdminReply, AdminRequest};

use super::fake_server::{FakeServer, client};
use crate::{
    ChangeId, ClientError, ClusterStatus, MemberChange, MemberStatus, NodeId, OperationReply,
    OperationStatus, Outcome, PlanReply,
};

#[tokio::test]
async fn a_cluster_is_shown_and_a_change_is_planned_done_and_followed() {
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
                AdminRequest::Drain { node, dry_run: true } => {
                    assert_eq!(node.unwrap().as_str(), "n");
                    let plan = PlanReply { members_after: 2, ..PlanReply::default() };
                    AdminReply::Plan(Box::new(plan))
                }
                AdminRequest::Drain { dry_run: false, .. } => {
                    let reply = OperationReply::accepted(ChangeId(7), OperationState::Pending);
                    AdminReply::Operation(reply)
                }
                AdminRequest::OperationStatus { id } => {
                    let operation = id.to_string();
                    let status = OperationStatus { operation, ..OperationStatus::default() };
                    AdminReply::OperationStatus(Box::new(status))
                }
                other => panic!("{other:?}"),
            };
            peer.tell(id, &reply).await;
        }
    })
    .await;
    let client = client(&[&server.address]);
    assert_eq!(client.cluster_status().await.unwrap().members[0].node_id, "n");
    let drain = MemberChange::Drain { node: NodeId::new("n").unwrap() };
    assert_eq!(client.plan(&drain).await.unwrap().members_after, 2);
    let accepted = client.change(&drain).await.unwrap();
    assert_eq!(accepted.state, "pending");
    let id = ChangeId::from_text(&accepted.operation).unwrap();
    assert_eq!(id, ChangeId(7));
    assert_eq!(client.operation(id).await.unwrap().operation, accepted.operation);
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
    let error = client(&[&server.address]).change(&MemberChange::Join).await.unwrap_err();
    assert!(matches!(error, ClientError::Lost { outcome: Outcome::Unknown, .. }), "{error}");
    assert_eq!(requests.load(Ordering::SeqCst), 1);
}
