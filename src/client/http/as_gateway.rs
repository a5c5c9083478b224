//! What a client asks of any gateway, asked across the network.
//!
//! # Source
//! docs/api.md

use super::{
    HttpGateway, WAIT_MAX,
    answer::{blob, done, expect, number, parsed, problem, receipt, streamed},
    encoded, json_headers,
    shown::{ShownParties, ShownRemarks},
};
use crate::{
    client::{
        AskGatewayError, Gateway,
        gateway::{Ciphertext, decode},
    },
    node::{Parties, RemarkShown},
    problem::Problem,
};
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use dmdl_types::{
    codec,
    custody::{DealingKey, SealedBytes},
    custody_proof::CustodyProof,
    id::{Epoch, Height, NodeId, PayloadDigest, RecordId, RecordVersion, TransactionId},
    invocation::PayloadInfo,
    limits,
    lineage::EpochStep,
    merkle::ConsistencyProof,
    receipt::Receipt,
    sign::PublicKey,
    title::Title,
    transaction::Transaction,
};
use dmdl_vault::{remark::Remark, seal::ReleasedShare};
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use serde::Deserialize;
use serde_json::{Value, json};
use std::{
    io::{Read, Seek, SeekFrom},
    ops::Range,
    sync::PoisonError,
    time::Duration,
};

/// Bytes that are uploaded at a time.
const PART_BYTES: usize = 4 << 20;
/// How long a height that an answer named is as good as a new one: expiries are many blocks away.
const HEIGHT_KEPT: Duration = Duration::from_secs(1);

impl Gateway for HttpGateway {
    async fn height(&self) -> Result<Height, AskGatewayError> {
        let first = *self.first_height.get_or_try_init(|| self.final_height()).await?;
        let known = *self.height.lock().unwrap_or_else(PoisonError::into_inner);
        match known.filter(|(at, _)| at.elapsed() < HEIGHT_KEPT) {
            Some((_, height)) => Ok(height.max(first)),
            None => self.final_height().await,
        }
    }

    async fn submit(&self, transaction: Transaction, patience: Duration) -> Result<Receipt, AskGatewayError> {
        #[derive(Deserialize)]
        struct Done {
            receipt: String,
        }
        let id = transaction.body.id();
        let body = encoded(&json!({ "transaction": BASE64.encode(codec::encode(&transaction)) }));
        let path = self.route(&format!("transactions?wait=final&timeout={}", patience.min(WAIT_MAX).as_millis()));
        let response = self.send(Method::POST, &path, json_headers(), Some(body), patience.min(WAIT_MAX)).await?;
        if response.status() == StatusCode::OK {
            let done: Done = parsed(response).await?;
            return receipt(&done.receipt);
        }
        let (problem, members) = problem(response).await?;
        // What the ledger denied or rejected comes with its receipt: the problem is only how it is told.
        match members.get("receipt").and_then(Value::as_str) {
            Some(text) => receipt(text),
            None if problem.code == "not_final" && patience > WAIT_MAX => {
                let rest = patience.saturating_sub(WAIT_MAX);
                Gateway::receipt(self, id, rest).await?.ok_or(AskGatewayError::Problem(problem))
            }
            // Only the ledger denies, and what it did can be shown.
            None if problem.code == "denied" => Err(AskGatewayError::Nonsense(
                "it says that the ledger denied the call, and shows no receipt".to_owned(),
            )),
            None => Err(problem.into()),
        }
    }

    async fn receipt(&self, id: TransactionId, patience: Duration) -> Result<Option<Receipt>, AskGatewayError> {
        #[derive(Deserialize)]
        struct Shown {
            receipt: String,
        }
        let mut left = patience;
        loop {
            let wait = left.min(WAIT_MAX);
            left = left.saturating_sub(WAIT_MAX);
            let route = format!("transactions/{id}?wait={}", wait.as_millis());
            match self.get_as::<Shown>(&route, wait).await {
                Ok(shown) => return receipt(&shown.receipt).map(Some),
                Err(AskGatewayError::Problem(problem)) if problem.status == 404 && left.is_zero() => return Ok(None),
                Err(AskGatewayError::Problem(problem)) if problem.status == 404 => {}
                Err(error) => return Err(error),
            }
        }
    }

    async fn decision(&self, request: TransactionId, patience: Duration) -> Result<Option<Receipt>, AskGatewayError> {
        #[derive(Deserialize)]
        struct Shown {
            decision: Option<String>,
        }
        let mut left = patience;
        loop {
            let wait = left.min(WAIT_MAX);
            left = left.saturating_sub(WAIT_MAX);
            let shown: Shown = self.get_as(&format!("requests/{request}?wait={}", wait.as_millis()), wait).await?;
            match shown.decision {
                Some(text) => return receipt(&text).map(Some),
                None if left.is_zero() => return Ok(None),
                None => {}
            }
        }
    }

    async fn consistency(&self, old: u64, new: u64) -> Result<ConsistencyProof, AskGatewayError> {
        #[derive(Deserialize)]
        struct Proof {
            old: u64,
            new: u64,
            hashes: Vec<String>,
        }
        let proof: Proof = self.get_as(&format!("audit/proof?old={old}&new={new}"), Duration::ZERO).await?;
        let hash = |text: &String| {
            let mut hash = [0; 32];
            hex::decode_to_slice(text, &mut hash).map(|()| hash)
        };
        let hashes = proof.hashes.iter().map(hash).collect::<Result<_, _>>();
        let hashes = hashes.map_err(|error| AskGatewayError::Nonsense(error.to_string()))?;
        Ok(ConsistencyProof { old_size: proof.old, new_size: proof.new, hashes })
    }

    async fn steps_after(&self, epoch: Epoch) -> Result<Vec<EpochStep>, AskGatewayError> {
        #[derive(Deserialize)]
        struct Shown {
            steps: Vec<String>,
        }
        let shown: Shown = self.get_as(&format!("configurations?after={epoch}"), Duration::ZERO).await?;
        shown.steps.iter().map(|step| decode(&blob(step)?, limits::EPOCH_STEP_BYTES)).collect()
    }

    async fn custody(
        &self,
        record: RecordId,
        version: RecordVersion,
        patience: Duration,
    ) -> Result<Option<CustodyProof>, AskGatewayError> {
        #[derive(Deserialize)]
        struct Shown {
            state: String,
            registration: String,
            receipt: String,
            reshared: Option<String>,
            acknowledgements: Vec<String>,
        }
        let mut left = patience;
        let shown: Shown = loop {
            let wait = left.min(WAIT_MAX);
            left = left.saturating_sub(WAIT_MAX);
            let route = format!("records/{record}/custody?version={version}&wait={}", wait.as_millis());
            match self.get_as::<Shown>(&route, wait).await {
                Ok(shown) if shown.state == "PENDING" && !left.is_zero() => {}
                Ok(shown) => break shown,
                Err(AskGatewayError::Problem(problem)) if problem.status == 404 => return Ok(None),
                Err(error) => return Err(error),
            }
        };
        let registration = decode(&blob(&shown.registration)?, limits::TRANSACTION_BYTES)?;
        let acknowledgements = shown.acknowledgements.iter().map(|text| receipt(text)).collect::<Result<_, _>>()?;
        let reshared = shown.reshared.map(|text| decode(&blob(&text)?, limits::TRANSACTION_BYTES)).transpose()?;
        Ok(Some(CustodyProof { registration, receipt: receipt(&shown.receipt)?, reshared, acknowledgements }))
    }

    async fn dealing_keys(
        &self,
        custodian: NodeId,
        _dealer: PublicKey,
        count: u16,
    ) -> Result<Vec<DealingKey>, AskGatewayError> {
        #[derive(Deserialize)]
        struct Keys {
            keys: Vec<String>,
        }
        let route = format!("custodians/{custodian}/dealing-keys");
        let keys: Keys = self.post(&route, &json!({ "count": count })).await?;
        keys.keys.iter().map(|key| decode(&blob(key)?, 1024)).collect()
    }

    async fn deliver(
        &self,
        custodian: NodeId,
        record: RecordId,
        version: RecordVersion,
        sealed: SealedBytes,
    ) -> Result<(), AskGatewayError> {
        let body = json!({ "sealed": BASE64.encode(codec::encode(&sealed)) });
        self.put(&format!("records/{record}/versions/{version}/shares/{custodian}"), &body).await
    }

    async fn release(&self, custodian: NodeId, decryption: TransactionId) -> Result<Vec<u8>, AskGatewayError> {
        #[derive(Deserialize)]
        struct Shares {
            shares: Vec<Share>,
            missing: Vec<Missing>,
        }
        #[derive(Deserialize)]
        struct Share {
            custodian: NodeId,
            share: String,
        }
        #[derive(Deserialize)]
        struct Missing {
            code: String,
            detail: String,
        }
        let answer: Shares =
            self.get_as(&format!("releases/{decryption}?custodian={custodian}"), Duration::ZERO).await?;
        if let Some(share) = answer.shares.iter().find(|share| share.custodian == custodian) {
            let bytes = blob(&share.share)?;
            return if bytes.len() <= ReleasedShare::LEN {
                Ok(bytes)
            } else {
                Err(AskGatewayError::Nonsense("a share is too long".to_owned()))
            };
        }
        let missing = answer.missing.into_iter().next();
        let missing = missing.ok_or_else(|| AskGatewayError::Nonsense("neither a share nor a reason".to_owned()))?;
        Err(Problem::new(503, missing.code, missing.detail).into())
    }

    async fn pause(&self, time: Duration) {
        tokio::time::sleep(time).await;
    }

    async fn upload(
        &self,
        payload: &PayloadInfo,
        mut ciphertext: impl Read + Seek + Send,
        progress: &(dyn Fn(u64) + Sync),
    ) -> Result<(), AskGatewayError> {
        let path = format!("/v1/payloads/{}", payload.digest);
        let total = payload.ciphertext_len_bytes;
        let response = self.send(Method::HEAD, &path, HeaderMap::new(), None, Duration::ZERO).await?;
        if response.status() == StatusCode::OK {
            progress(total);
            return Ok(());
        }
        // What an upload that broke off has left there need not be sent again.
        let mut offset = number(response.headers(), "upload-offset").filter(|offset| *offset < total).unwrap_or(0);
        ciphertext.seek(SeekFrom::Start(offset))?;
        while offset < total {
            let len = PART_BYTES.min(usize::try_from(total - offset).unwrap_or(PART_BYTES));
            let mut part = vec![0; len];
            ciphertext.read_exact(&mut part)?;
            let mut headers = HeaderMap::new();
            let range = format!("bytes {offset}-{}/{total}", offset + len as u64 - 1);
            let range = HeaderValue::from_str(&range).map_err(|e| AskGatewayError::Nonsense(e.to_string()))?;
            headers.insert(header::CONTENT_RANGE, range);
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
            let response = self.send(Method::PUT, &path, headers, Some(part.into()), WAIT_MAX).await?;
            done(response).await?;
            offset += len as u64;
            progress(offset);
        }
        Ok(())
    }

    async fn download(&self, digest: PayloadDigest) -> Result<Ciphertext, AskGatewayError> {
        let path = format!("/v1/payloads/{digest}");
        let response = self.send(Method::GET, &path, HeaderMap::new(), None, Duration::ZERO).await?;
        Ok(streamed(expect(response).await?))
    }

    async fn download_range(&self, digest: PayloadDigest, range: Range<u64>) -> Result<Ciphertext, AskGatewayError> {
        let path = format!("/v1/payloads/{digest}");
        let bytes = format!("bytes={}-{}", range.start, range.end.saturating_sub(1));
        let value = HeaderValue::from_str(&bytes).map_err(|error| AskGatewayError::Nonsense(error.to_string()))?;
        let headers = HeaderMap::from_iter([(header::RANGE, value)]);
        let response = expect(self.send(Method::GET, &path, headers, None, Duration::ZERO).await?).await?;
        if response.status() != StatusCode::PARTIAL_CONTENT {
            return Err(AskGatewayError::Nonsense("a range was asked for, and something else came".to_owned()));
        }
        Ok(streamed(response))
    }

    async fn parties(&self, record: RecordId) -> Result<Parties, AskGatewayError> {
        let route = format!("records/{record}/parties");
        self.get_as::<ShownParties>(&route, Duration::ZERO).await?.read()
    }

    async fn remarks(&self, request: TransactionId) -> Result<Vec<RemarkShown>, AskGatewayError> {
        let route = format!("requests/{request}/remarks");
        self.get_as::<ShownRemarks>(&route, Duration::ZERO).await?.read()
    }

    async fn keep_remark(&self, request: TransactionId, remark: &Remark) -> Result<(), AskGatewayError> {
        let body = json!({ "remark": BASE64.encode(codec::encode(remark)) });
        self.put(&format!("requests/{request}/remarks"), &body).await
    }

    async fn keep_title(&self, title: &Title) -> Result<(), AskGatewayError> {
        let body = json!({ "title": BASE64.encode(codec::encode(title)) });
        self.put(&format!("records/{}/title", title.record()), &body).await
    }
}
