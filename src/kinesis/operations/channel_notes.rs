//! The facts about a channel that only the API shows. They are kept as an attribute.

use serde::{Deserialize, Serialize};

use super::channel_shapes::*;
use crate::kinesis::convert::Input;
use crate::kinesis::error::ApiError;
use crate::kinesis::key::Members;
use crate::kinesis::operation::Call;
use crate::{Compression, Destination, RecordFormat, StorageClass};

/// The attribute of a channel.
pub(super) const NOTES_ATTRIBUTE: &str = "channel";

/// The arguments of CreateChannel.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Notes {
    role_arn: String,
    record_format: String,
    schema_arn: Option<String>,
    kms_key_id: Option<String>,
    pub(super) logging: Logging,
    pub(super) destination: Noted,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Logging {
    pub(super) is_enabled: bool,
    pub(super) group: Option<String>,
    pub(super) stream: Option<String>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) enum Noted {
    S3 {
        storage: Storage,
        dead_letters: Option<ErrorBucket>,
    },
    Tables {
        tables: Vec<Table>,
        dead_letters: ErrorBucket,
    },
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Storage {
    bucket_arn: String,
    owner: String,
    key_template: Option<String>,
    class: Option<String>,
    compression: String,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct ErrorBucket {
    bucket_arn: String,
    owner: String,
    prefix: Option<String>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Table {
    bucket_arn: String,
    namespace: String,
    name: String,
    compression: String,
    /// Transforms and the names of their columns.
    partition: Option<Vec<(String, String)>>,
}

impl Notes {
    /// The arguments of a call of CreateChannel, if they are consistent.
    pub(super) fn of(call: &Call<'_>, stream: &Input<'_>) -> Result<Self, ApiError> {
        let record = stream.get(RECORD_CONFIGURATION);
        let record_format = record.get(RECORD_FORMAT_TYPE);
        let schema_arn = record.get(GSR_SCHEMA_ARN);
        let destination = match (call.get(S3_DESTINATION), call.get(TABLES_DESTINATION)) {
            (Some(destination), None) => noted_s3(destination, record_format, schema_arn)?,
            (None, Some(destination)) => noted_tables(destination, record_format, schema_arn)?,
            _ => {
                return Err(ApiError::invalid_argument(
                    "A channel has exactly one of S3DestinationConfiguration and S3TablesDestinationConfiguration.",
                ));
            }
        };
        let kms_key_id = call
            .get(ENCRYPTION_CONFIGURATION)
            .map(|encryption| encryption.get(KEY_ID));
        if kms_key_id == Some("alias/aws/kinesis") {
            return Err(ApiError::invalid_argument(
                "A channel cannot use the key alias/aws/kinesis. Specify a customer managed key.",
            ));
        }
        Ok(Notes {
            role_arn: call.get(SERVICE_EXECUTION_ROLE_ARN).to_owned(),
            record_format: record_format.to_owned(),
            schema_arn: schema_arn.map(str::to_owned),
            kms_key_id: kms_key_id.map(str::to_owned),
            logging: Logging::of(call.get(LOGGING_CONFIGURATION)),
            destination,
        })
    }

    /// The notes of a channel that a program made by the library.
    pub(super) fn of_destination(destination: &Destination, account_id: &str) -> Self {
        let text = |text: &str| text.to_owned();
        Notes {
            role_arn: format!("arn:aws:iam::{account_id}:role/none"),
            record_format: text(match destination.format {
                RecordFormat::Json => "JSON",
                RecordFormat::Text => "STRING",
                RecordFormat::Bytes => "BYTE_ARRAY",
            }),
            schema_arn: None,
            kms_key_id: destination.encryption_key.clone(),
            logging: Logging::of(None),
            destination: Noted::S3 {
                storage: Storage {
                    bucket_arn: format!("arn:aws:s3:::{}", destination.bucket),
                    owner: text(account_id),
                    key_template: destination.key_template.clone(),
                    class: Some(text(match destination.storage_class {
                        StorageClass::Standard => "STANDARD",
                        StorageClass::IntelligentTiering => "INTELLIGENT_TIERING",
                        StorageClass::GlacierInstantRetrieval => "GLACIER_IR",
                    })),
                    compression: text(match destination.compression {
                        Compression::None => "NONE",
                        Compression::Gzip => "GZIP",
                        Compression::Zstd => "ZSTD",
                    }),
                },
                dead_letters: destination.error_bucket.as_ref().map(|bucket| ErrorBucket {
                    bucket_arn: format!("arn:aws:s3:::{bucket}"),
                    owner: text(account_id),
                    prefix: destination.error_prefix.clone(),
                }),
            },
        }
    }

    /// The destination for the engine; `None` if it delivers nothing.
    pub(super) fn destination(&self) -> Option<Destination> {
        let Noted::S3 {
            storage,
            dead_letters,
        } = &self.destination
        else {
            return None;
        };
        let name = |arn: &str| bucket_name(arn).unwrap_or_default().to_owned();
        Some(Destination {
            key_template: storage.key_template.clone(),
            format: match self.record_format.as_str() {
                "JSON" => RecordFormat::Json,
                "STRING" => RecordFormat::Text,
                _ => RecordFormat::Bytes,
            },
            compression: match storage.compression.as_str() {
                "GZIP" => Compression::Gzip,
                "ZSTD" => Compression::Zstd,
                _ => Compression::None,
            },
            storage_class: match storage.class.as_deref() {
                Some("INTELLIGENT_TIERING") => StorageClass::IntelligentTiering,
                Some("GLACIER_IR") => StorageClass::GlacierInstantRetrieval,
                _ => StorageClass::Standard,
            },
            encryption_key: self.kms_key_id.clone(),
            error_bucket: dead_letters.as_ref().map(|errors| name(&errors.bucket_arn)),
            error_prefix: dead_letters.as_ref().and_then(|errors| errors.prefix.clone()),
            ..Destination::new(&name(&storage.bucket_arn))
        })
    }

    pub(super) fn show_record(&self, record: &mut Members<'_>) {
        record.set(RECORD_FORMAT_TYPE, self.record_format.as_str());
        record.set_some(GSR_SCHEMA_ARN, self.schema_arn.as_deref());
    }

    /// The part of a description that does not change.
    pub(super) fn show(&self, shown: &mut Members<'_>, channel: &Shown<'_>) {
        shown.set(SERVICE_EXECUTION_ROLE_ARN, self.role_arn.as_str());
        match &self.destination {
            Noted::S3 {
                storage,
                dead_letters,
            } => {
                shown.set(S3_DESTINATION_SHOWN, |s3: &mut Members<'_>| {
                    s3.set(DATA_FRESHNESS_SHOWN, channel.freshness_seconds);
                    s3.set(DEAD_LETTER_BUCKET_NEEDED, |errors: &mut Members<'_>| {
                        let default = || ErrorBucket::in_bucket_of(storage);
                        let known = dead_letters.clone().unwrap_or_else(default);
                        known.show(errors, channel);
                    });
                    s3.set(STORAGE_CONFIGURATION, |shown: &mut Members<'_>| {
                        storage.show(shown);
                    });
                });
            }
            Noted::Tables { tables, dead_letters } => {
                shown.set(TABLES_DESTINATION_SHOWN, |destination: &mut Members<'_>| {
                    destination.set(DATA_FRESHNESS_SHOWN, channel.freshness_seconds);
                    destination.set(DEAD_LETTER_BUCKET_NEEDED, |errors: &mut Members<'_>| {
                        dead_letters.show(errors, channel);
                    });
                    destination.set_list(TABLES, tables, |shown, table| table.show(shown));
                });
            }
        }
        if let Some(key) = &self.kms_key_id {
            shown.set(ENCRYPTION_CONFIGURATION, |encryption: &mut Members<'_>| {
                encryption.set(ENCRYPTION_TYPE, "KMS");
                encryption.set(KEY_ID, key.as_str());
            });
        }
        shown.set(LOGGING_CONFIGURATION_SHOWN, |logging: &mut Members<'_>| {
            logging.set(CLOUD_WATCH_LOGS, |logs: &mut Members<'_>| {
                self.logging.show(logs, channel);
            });
        });
    }
}

/// Further facts that a description needs.
pub(super) struct Shown<'a> {
    pub(super) name: &'a str,
    pub(super) unique_name: &'a str,
    pub(super) freshness_seconds: u32,
}

fn noted_s3(
    destination: &Input<'_>,
    record_format: &str,
    schema_arn: Option<&str>,
) -> Result<Noted, ApiError> {
    if record_format == "GSR_JSON" || schema_arn.is_some() {
        return Err(ApiError::invalid_argument(
            "A channel with an S3DestinationConfiguration takes records of type JSON, STRING or BYTE_ARRAY, without a \
             GSRSchemaARN.",
        ));
    }
    let storage = destination.get(STORAGE_CONFIGURATION);
    Ok(Noted::S3 {
        storage: Storage {
            bucket_arn: storage.get(BUCKET_ARN).to_owned(),
            owner: storage.get(EXPECTED_BUCKET_OWNER).to_owned(),
            key_template: storage.get(OUTPUT_KEY_TEMPLATE).map(str::to_owned),
            class: storage.get(STORAGE_CLASS).map(str::to_owned),
            compression: storage.get(COMPRESSION_TYPE).to_owned(),
        },
        dead_letters: destination.get(DEAD_LETTER_BUCKET).map(ErrorBucket::of),
    })
}

fn noted_tables(
    destination: &Input<'_>,
    record_format: &str,
    schema_arn: Option<&str>,
) -> Result<Noted, ApiError> {
    match (record_format, schema_arn) {
        ("GSR_JSON", _) | ("JSON", Some(_)) => {}
        ("JSON", None) => {
            return Err(ApiError::invalid_argument(
                "A channel with an S3TablesDestinationConfiguration and records of type JSON needs a GSRSchemaARN.",
            ));
        }
        _ => {
            return Err(ApiError::invalid_argument(
                "A channel with an S3TablesDestinationConfiguration takes records of type JSON or GSR_JSON.",
            ));
        }
    }
    let tables: Vec<_> = destination.get(TABLES).map(Table::of).collect();
    if tables.len() > 1 {
        return Err(ApiError::invalid_argument(
            "A channel has one table in its S3TablesConfigurationList.",
        ));
    }
    Ok(Noted::Tables {
        tables,
        dead_letters: ErrorBucket::of(destination.get(DEAD_LETTER_BUCKET_NEEDED)),
    })
}

impl Logging {
    /// Members that are not given have their defaults.
    fn of(logging: Option<&Input<'_>>) -> Self {
        match logging {
            Some(logging) => Self::given(logging),
            None => Self {
                is_enabled: false,
                group: None,
                stream: None,
            },
        }
    }

    pub(super) fn given(logging: &Input<'_>) -> Self {
        let logs = logging.get(CLOUD_WATCH_LOGS);
        Self {
            is_enabled: logs.get(ENABLED),
            group: logs.get(LOG_GROUP_NAME).map(str::to_owned),
            stream: logs.get(LOG_STREAM_NAME).map(str::to_owned),
        }
    }

    fn show(&self, logs: &mut Members<'_>, channel: &Shown<'_>) {
        let default = || format!("/aws/kinesis/{}/{}", channel.name, channel.unique_name);
        let group = self.group.clone().unwrap_or_else(default);
        logs.set(ENABLED, self.is_enabled);
        logs.set(LOG_GROUP_NAME, group.as_str());
        logs.set(
            LOG_STREAM_NAME,
            self.stream.as_deref().unwrap_or("DestinationDelivery"),
        );
    }
}

impl ErrorBucket {
    fn of(given: &Input<'_>) -> Self {
        Self {
            bucket_arn: given.get(BUCKET_ARN).to_owned(),
            owner: given.get(EXPECTED_BUCKET_OWNER).to_owned(),
            prefix: given.get(ERROR_OUTPUT_PREFIX).map(str::to_owned),
        }
    }

    fn in_bucket_of(storage: &Storage) -> Self {
        Self {
            bucket_arn: storage.bucket_arn.clone(),
            owner: storage.owner.clone(),
            prefix: None,
        }
    }

    fn show(&self, errors: &mut Members<'_>, channel: &Shown<'_>) {
        let default = || crate::Channel::default_error_prefix(channel.name, channel.unique_name);
        let prefix = self.prefix.clone().unwrap_or_else(default);
        errors.set(BUCKET_ARN, self.bucket_arn.as_str());
        errors.set(EXPECTED_BUCKET_OWNER, self.owner.as_str());
        errors.set(ERROR_OUTPUT_PREFIX, prefix.as_str());
    }
}

impl Storage {
    fn show(&self, shown: &mut Members<'_>) {
        shown.set(BUCKET_ARN, self.bucket_arn.as_str());
        shown.set(EXPECTED_BUCKET_OWNER, self.owner.as_str());
        let template = self.key_template.as_deref();
        shown.set(
            OUTPUT_KEY_TEMPLATE,
            template.unwrap_or(crate::Channel::DEFAULT_KEY_TEMPLATE),
        );
        shown.set(STORAGE_CLASS, self.class.as_deref().unwrap_or("STANDARD"));
        shown.set(COMPRESSION_TYPE, self.compression.as_str());
    }
}

impl Table {
    fn of(given: &Input<'_>) -> Self {
        let fields = |spec: &Input<'_>| {
            let fields = spec.get(PARTITION_FIELDS);
            let fields =
                fields.map(|field| (field.get(TRANSFORM).to_owned(), field.get(SOURCE_NAME).to_owned()));
            fields.collect()
        };
        Self {
            bucket_arn: given.get(TABLE_BUCKET_ARN).to_owned(),
            namespace: given.get(NAMESPACE).to_owned(),
            name: given.get(TABLE_NAME).to_owned(),
            compression: given.get(TABLE_COMPRESSION_TYPE).to_owned(),
            partition: given.get(PARTITION_SPEC).map(fields),
        }
    }

    fn show(&self, shown: &mut Members<'_>) {
        shown.set(TABLE_BUCKET_ARN, self.bucket_arn.as_str());
        shown.set(NAMESPACE, self.namespace.as_str());
        shown.set(TABLE_NAME, self.name.as_str());
        shown.set(TABLE_COMPRESSION_TYPE, self.compression.as_str());
        if let Some(fields) = &self.partition {
            shown.set(PARTITION_SPEC, |spec: &mut Members<'_>| {
                spec.set_list(PARTITION_FIELDS, fields, |field, (transform, source)| {
                    field.set(TRANSFORM, transform.as_str());
                    field.set(SOURCE_NAME, source.as_str());
                });
            });
        }
    }
}
