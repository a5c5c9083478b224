//! What a gateway shows of remarks and of those whom they are for, as JSON.

use super::answer::{blob, receipt};
use crate::{
    client::{AskGatewayError, gateway::decode},
    node::{Deed, Parties, Party, RemarkShown},
};
use dmdl_types::{genesis::Person, limits};
use serde::Deserialize;

/// Whom a record concerns.
#[derive(Deserialize)]
pub(super) struct ShownParties {
    acquired: ShownDeed,
    people: Vec<ShownParty>,
}

#[derive(Deserialize)]
struct ShownParty {
    person: Person,
    active: bool,
    enrolment: Option<ShownDeed>,
}

#[derive(Deserialize)]
struct ShownDeed {
    transaction: String,
    receipt: String,
}

impl ShownDeed {
    fn read(&self) -> Result<Deed, AskGatewayError> {
        let transaction = decode(&blob(&self.transaction)?, limits::TRANSACTION_BYTES)?;
        Ok(Deed { transaction, receipt: receipt(&self.receipt)? })
    }
}

impl ShownParties {
    pub(super) fn read(self) -> Result<Parties, AskGatewayError> {
        let party = |ShownParty { person, active, enrolment }: ShownParty| {
            Ok(Party { person, active, enrolment: enrolment.as_ref().map(ShownDeed::read).transpose()? })
        };
        let people = self.people.into_iter().map(party).collect::<Result<_, AskGatewayError>>()?;
        Ok(Parties { acquired: self.acquired.read()?, people })
    }
}

/// A request and its review, with the remarks on them.
#[derive(Deserialize)]
pub(super) struct ShownRemarks {
    items: Vec<ShownRemark>,
}

#[derive(Deserialize)]
struct ShownRemark {
    transaction: String,
    remark: Option<String>,
}

impl ShownRemarks {
    pub(super) fn read(self) -> Result<Vec<RemarkShown>, AskGatewayError> {
        let item = |ShownRemark { transaction, remark }: ShownRemark| {
            let transaction = decode(&blob(&transaction)?, limits::TRANSACTION_BYTES)?;
            Ok(RemarkShown { transaction, remark: remark.as_deref().map(blob).transpose()? })
        };
        self.items.into_iter().map(item).collect()
    }
}
