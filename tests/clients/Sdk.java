// The AWS SDK for Java 2, its client that waits and its client that does not: each operation that it has, and many
// puts on one connection.
//
// Run as: java -cp 'JARS/*' Sdk.java URL PUTS    (over TLS, with a truststore that has the server's certificate)
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import java.net.URI;
import java.nio.file.DirectoryStream;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.Semaphore;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import software.amazon.awssdk.auth.credentials.EnvironmentVariableCredentialsProvider;
import software.amazon.awssdk.awscore.retry.AwsRetryStrategy;
import software.amazon.awssdk.core.SdkBytes;
import software.amazon.awssdk.core.client.config.ClientOverrideConfiguration;
import software.amazon.awssdk.core.interceptor.Context;
import software.amazon.awssdk.core.interceptor.ExecutionAttributes;
import software.amazon.awssdk.core.interceptor.ExecutionInterceptor;
import software.amazon.awssdk.http.apache.ApacheHttpClient;
import software.amazon.awssdk.http.nio.netty.NettyNioAsyncHttpClient;
import software.amazon.awssdk.regions.Region;
import software.amazon.awssdk.services.kinesis.KinesisAsyncClient;
import software.amazon.awssdk.services.kinesis.KinesisClient;
import software.amazon.awssdk.services.kinesis.model.*;
import software.amazon.awssdk.services.kinesis.model.Record;

class Sdk {
    // The clients do not try again here, so none of their own limits of time may strike on a busy machine. The pings, which
    // are off, end a connection that is silent for 5 seconds.
    static final Duration PATIENCE = Duration.ofMinutes(2);
    static URI endpoint;

    public static void main(String[] arguments) throws Exception {
        endpoint = URI.create(arguments[0]);
        ClientOverrideConfiguration once = ClientOverrideConfiguration.builder()
            .retryStrategy(AwsRetryStrategy.doNotRetry())
            .addExecutionInterceptor(new Encodings())
            .build();
        EnvironmentVariableCredentialsProvider credentials = EnvironmentVariableCredentialsProvider.create();
        try (KinesisClient sync = KinesisClient.builder().endpointOverride(endpoint).region(Region.EU_WEST_1)
                 .credentialsProvider(credentials).overrideConfiguration(once)
                 .httpClientBuilder(ApacheHttpClient.builder().connectionTimeout(PATIENCE).socketTimeout(PATIENCE)).build();
             KinesisAsyncClient async = KinesisAsyncClient.builder().endpointOverride(endpoint).region(Region.EU_WEST_1)
                 .credentialsProvider(credentials).overrideConfiguration(once)
                 .httpClientBuilder(NettyNioAsyncHttpClient.builder().connectionTimeout(PATIENCE).readTimeout(PATIENCE)
                     .connectionAcquisitionTimeout(PATIENCE)
                     .http2Configuration(http2 -> http2.healthCheckPingPeriod(Duration.ZERO))).build()) {
            new Sdk(sync, KinesisClient.class, "sync").everyOperation();
            new Sdk(async, KinesisAsyncClient.class, "async").everyOperation();
            subscriptions(async);
            manyPuts(async, Integer.parseInt(arguments[1]));
        }
        expect("CBOR but for subscriptions", Map.of("application/x-amz-cbor-1.1", false, "application/x-amz-json-1.1", true),
            Encodings.ofSubscriptions);
    }

    /** What content types the requests had, and whether those with it were subscriptions. */
    static class Encodings implements ExecutionInterceptor {
        static final Map<String, Boolean> ofSubscriptions = new ConcurrentHashMap<>();

        @Override
        public void beforeTransmission(Context.BeforeTransmission context, ExecutionAttributes attributes) {
            boolean subscribes = context.request() instanceof SubscribeToShardRequest;
            String type = context.httpRequest().firstMatchingHeader("Content-Type").orElse("none");
            Boolean before = ofSubscriptions.put(type, subscribes);
            if (before != null && before != subscribes) {
                ofSubscriptions.put(type + " of both", subscribes);
            }
        }
    }

    final Object client;
    final Class<?> operations;
    final String stream;
    final Set<String> called = new HashSet<>();

    Sdk(Object client, Class<?> operations, String stream) {
        this.client = client;
        this.operations = operations;
        this.stream = stream;
    }

    /** Calls the operation that the request is one of, and waits for its answer. */
    @SuppressWarnings("unchecked")
    <T> T call(KinesisRequest request) throws Exception {
        String name = request.getClass().getSimpleName().replace("Request", "");
        name = Character.toLowerCase(name.charAt(0)) + name.substring(1);
        called.add(name);
        try {
            Object answer = operations.getMethod(name, request.getClass()).invoke(client, request);
            return (T) (answer instanceof CompletableFuture<?> future ? future.join() : answer);
        } catch (InvocationTargetException | CompletionException failure) {
            Throwable cause = failure.getCause();
            throw cause instanceof Exception exception ? exception : failure;
        }
    }

    void everyOperation() throws Exception {
        refused(ResourceNotFoundException.class, "under account 000000000000 not found",
            DescribeStreamSummaryRequest.builder().streamName(stream).build());
        call(CreateStreamRequest.builder().streamName(stream).shardCount(2).tags(Map.of("team", "blue")).build());
        refused(ResourceInUseException.class, "already exists",
            CreateStreamRequest.builder().streamName(stream).shardCount(2).build());
        ListStreamsResponse streams = call(ListStreamsRequest.builder().build());
        expect("the stream is listed", true, streams.streamNames().contains(stream));
        expect("no more streams", false, streams.hasMoreStreams());
        StreamDescriptionSummary summary = this.<DescribeStreamSummaryResponse>call(
            DescribeStreamSummaryRequest.builder().streamName(stream).build()).streamDescriptionSummary();
        expect("shards", 2, summary.openShardCount());
        expect("created just now", true,
            Duration.between(summary.streamCreationTimestamp(), Instant.now()).abs().toMinutes() < 5);
        String arn = summary.streamARN();
        StreamDescription description = this.<DescribeStreamResponse>call(
            DescribeStreamRequest.builder().streamARN(arn).build()).streamDescription();
        expect("status", StreamStatus.ACTIVE, description.streamStatus());
        expect("shards", 2, description.shards().size());
        expect("mode", StreamMode.PROVISIONED, description.streamModeDetails().streamMode());

        tags(arn);
        settings(arn);
        List<String> numbers = records();
        resharding(numbers);
        consumers(arn);

        call(UpdateStreamModeRequest.builder().streamARN(arn)
            .streamModeDetails(StreamModeDetails.builder().streamMode(StreamMode.ON_DEMAND).build()).build());
        call(DeleteStreamRequest.builder().streamName(stream).enforceConsumerDeletion(true).build());
        refused(ResourceNotFoundException.class, "not found", ListShardsRequest.builder().streamName(stream).build());

        Set<String> all = new TreeSet<>();
        for (Method method : operations.getMethods()) {
            Class<?>[] takes = method.getParameterTypes();
            if (takes.length == 1 && KinesisRequest.class.isAssignableFrom(takes[0]) && !method.getName().endsWith("Paginator")) {
                all.add(method.getName());
            }
        }
        expect("operations", all, new TreeSet<>(called));
    }

    void tags(String arn) throws Exception {
        call(AddTagsToStreamRequest.builder().streamName(stream).tags(Map.of("cost:center", "17")).build());
        call(TagResourceRequest.builder().resourceARN(arn).tags(Map.of("größe", "mittel")).build());
        ListTagsForStreamResponse byName = call(ListTagsForStreamRequest.builder().streamName(stream).build());
        List<String> keys = byName.tags().stream().map(Tag::key).toList();
        expect("tags", List.of("cost:center", "größe", "team"), keys);
        call(RemoveTagsFromStreamRequest.builder().streamName(stream).tagKeys("team").build());
        call(UntagResourceRequest.builder().resourceARN(arn).tagKeys("cost:center").build());
        ListTagsForResourceResponse byArn = call(ListTagsForResourceRequest.builder().resourceARN(arn).build());
        expect("tags", List.of(Tag.builder().key("größe").value("mittel").build()), byArn.tags());
    }

    void settings(String arn) throws Exception {
        call(IncreaseStreamRetentionPeriodRequest.builder().streamName(stream).retentionPeriodHours(48).build());
        call(DecreaseStreamRetentionPeriodRequest.builder().streamName(stream).retentionPeriodHours(36).build());
        EnableEnhancedMonitoringResponse enabled = call(EnableEnhancedMonitoringRequest.builder().streamName(stream)
            .shardLevelMetrics(MetricsName.INCOMING_BYTES, MetricsName.OUTGOING_BYTES).build());
        expect("metrics", 2, enabled.desiredShardLevelMetrics().size());
        DisableEnhancedMonitoringResponse disabled = call(DisableEnhancedMonitoringRequest.builder().streamName(stream)
            .shardLevelMetrics(MetricsName.INCOMING_BYTES).build());
        expect("metrics", List.of(MetricsName.OUTGOING_BYTES), disabled.desiredShardLevelMetrics());
        DescribeStreamSummaryResponse summary = call(DescribeStreamSummaryRequest.builder().streamName(stream).build());
        expect("retention", 36, summary.streamDescriptionSummary().retentionPeriodHours());
        String policy = "{\"Version\":\"2012-10-17\",\"Statement\":[]}";
        call(PutResourcePolicyRequest.builder().resourceARN(arn).policy(policy).build());
        GetResourcePolicyResponse kept = call(GetResourcePolicyRequest.builder().resourceARN(arn).build());
        expect("policy", policy, kept.policy());
        call(DeleteResourcePolicyRequest.builder().resourceARN(arn).build());
        call(StartStreamEncryptionRequest.builder().streamName(stream).encryptionType(EncryptionType.KMS)
            .keyId("alias/aws/kinesis").build());
        summary = call(DescribeStreamSummaryRequest.builder().streamName(stream).build());
        expect("encryption", EncryptionType.KMS, summary.streamDescriptionSummary().encryptionType());
        expect("key", "alias/aws/kinesis", summary.streamDescriptionSummary().keyId());
        call(StopStreamEncryptionRequest.builder().streamName(stream).encryptionType(EncryptionType.KMS)
            .keyId("alias/aws/kinesis").build());
        DescribeLimitsResponse limits = call(DescribeLimitsRequest.builder().build());
        expect("the shards count", true, limits.openShardCount() >= 2 && limits.shardLimit() >= limits.openShardCount());
    }

    /** The numbers of the records in the first shard. */
    List<String> records() throws Exception {
        // Byte strings, text beyond ASCII and an empty record.
        byte[] bytes = new byte[256];
        for (int value = 0; value < bytes.length; value++) {
            bytes[value] = (byte) value;
        }
        PutRecordResponse first = call(PutRecordRequest.builder().streamName(stream).partitionKey("Schlüssel")
            .explicitHashKey("0").data(SdkBytes.fromByteArray(bytes)).build());
        PutRecordsResponse others = call(PutRecordsRequest.builder().streamName(stream).records(
            entry("二", "0", new byte[0]), entry("three", "340282366920938463463374607431768211455", bytes)).build());
        expect("failed records", 0, others.failedRecordCount());
        expect("shards", List.of("shardId-000000000000", "shardId-000000000001"),
            others.records().stream().map(PutRecordsResultEntry::shardId).toList());
        refused(InvalidArgumentException.class, "ExplicitHashKey", PutRecordRequest.builder().streamName(stream)
            .partitionKey("a").explicitHashKey("340282366920938463463374607431768211456").data(SdkBytes.fromByteArray(bytes)).build());
        List<Record> records = read(shardIterator("shardId-000000000000", ShardIteratorType.TRIM_HORIZON, null)).records();
        expect("keys", List.of("Schlüssel", "二"), records.stream().map(Record::partitionKey).toList());
        expect("data", SdkBytes.fromByteArray(bytes), records.get(0).data());
        expect("no data", 0, records.get(1).data().asByteArray().length);
        expect("number", first.sequenceNumber(), records.get(0).sequenceNumber());
        Instant arrival = records.get(0).approximateArrivalTimestamp();
        expect("arrived just now", true, Duration.between(arrival, Instant.now()).abs().toMinutes() < 5);
        GetRecordsResponse since = read(shardIterator("shardId-000000000000", ShardIteratorType.AT_TIMESTAMP, arrival));
        expect("records since then", 2, since.records().size());
        return records.stream().map(Record::sequenceNumber).toList();
    }

    static PutRecordsRequestEntry entry(String partitionKey, String hashKey, byte[] data) {
        return PutRecordsRequestEntry.builder().partitionKey(partitionKey).explicitHashKey(hashKey)
            .data(SdkBytes.fromByteArray(data)).build();
    }

    GetShardIteratorRequest shardIterator(String shard, ShardIteratorType type, Instant timestamp) {
        return GetShardIteratorRequest.builder().streamName(stream).shardId(shard).shardIteratorType(type)
            .timestamp(timestamp).build();
    }

    GetRecordsResponse read(GetShardIteratorRequest from) throws Exception {
        GetShardIteratorResponse iterator = call(from);
        return call(GetRecordsRequest.builder().shardIterator(iterator.shardIterator()).build());
    }

    void resharding(List<String> numbers) throws Exception {
        call(SplitShardRequest.builder().streamName(stream).shardToSplit("shardId-000000000000").newStartingHashKey("1000").build());
        GetRecordsResponse end = read(shardIterator("shardId-000000000000", ShardIteratorType.TRIM_HORIZON, null));
        expect("records before the split", numbers, end.records().stream().map(Record::sequenceNumber).toList());
        expect("the shard ends", null, end.nextShardIterator());
        expect("children", List.of("shardId-000000000002", "shardId-000000000003"),
            end.childShards().stream().map(ChildShard::shardId).toList());
        expect("parents", List.of("shardId-000000000000"), end.childShards().get(0).parentShards());
        call(MergeShardsRequest.builder().streamName(stream).shardToMerge("shardId-000000000002")
            .adjacentShardToMerge("shardId-000000000003").build());
        UpdateShardCountResponse updated = call(UpdateShardCountRequest.builder().streamName(stream).targetShardCount(4)
            .scalingType(ScalingType.UNIFORM_SCALING).build());
        expect("from and to", List.of(2, 4), List.of(updated.currentShardCount(), updated.targetShardCount()));
        // As on AWS, the answer does not wait for the shards.
        while (status() == StreamStatus.UPDATING) {
            Thread.sleep(10);
        }
        ListShardsResponse shards = call(ListShardsRequest.builder().streamName(stream)
            .shardFilter(ShardFilter.builder().type(ShardFilterType.AT_LATEST).build()).build());
        expect("open shards", 4, shards.shards().size());
    }

    StreamStatus status() throws Exception {
        DescribeStreamSummaryResponse described = call(DescribeStreamSummaryRequest.builder().streamName(stream).build());
        return described.streamDescriptionSummary().streamStatus();
    }

    void consumers(String arn) throws Exception {
        RegisterStreamConsumerResponse registered = call(
            RegisterStreamConsumerRequest.builder().streamARN(arn).consumerName("reader").build());
        String consumer = registered.consumer().consumerARN();
        DescribeStreamConsumerResponse described = call(DescribeStreamConsumerRequest.builder().consumerARN(consumer).build());
        expect("status", ConsumerStatus.ACTIVE, described.consumerDescription().consumerStatus());
        expect("created", registered.consumer().consumerCreationTimestamp(),
            described.consumerDescription().consumerCreationTimestamp());
        ListStreamConsumersResponse listed = call(ListStreamConsumersRequest.builder().streamARN(arn).build());
        expect("consumers", List.of("reader"), listed.consumers().stream().map(Consumer::consumerName).toList());
        call(DeregisterStreamConsumerRequest.builder().consumerARN(consumer).build());
        refused(ResourceNotFoundException.class, "not found",
            DescribeStreamConsumerRequest.builder().consumerARN(consumer).build());
    }

    void refused(Class<? extends Exception> type, String message, KinesisRequest request) throws Exception {
        try {
            call(request);
        } catch (Exception failure) {
            expect("exception", type, failure.getClass());
            expect("status", 400, ((KinesisException) failure).statusCode());
            expect("code", type.getSimpleName(), ((KinesisException) failure).awsErrorDetails().errorCode());
            expect("in the message: " + failure.getMessage(), true, failure.getMessage().contains(message));
            return;
        }
        throw new AssertionError("not refused: " + request);
    }

    /** Records that are pushed before and after the subscription, and the end of the shard. */
    static void subscriptions(KinesisAsyncClient client) throws Exception {
        String stream = "pushed";
        client.createStream(request -> request.streamName(stream).shardCount(1)).join();
        String arn = client.describeStreamSummary(request -> request.streamName(stream)).join()
            .streamDescriptionSummary().streamARN();
        String consumer = client.registerStreamConsumer(request -> request.streamARN(arn).consumerName("reader")).join()
            .consumer().consumerARN();
        put(client, stream, "before").join();
        LinkedBlockingQueue<SubscribeToShardEvent> events = new LinkedBlockingQueue<>();
        CompletableFuture<Void> subscription = client.subscribeToShard(
            request -> request.consumerARN(consumer).shardId("shardId-000000000000")
                .startingPosition(position -> position.type(ShardIteratorType.TRIM_HORIZON)),
            SubscribeToShardResponseHandler.builder().subscriber(event -> events.add((SubscribeToShardEvent) event)).build());
        expect("pushed", "before", nextRecord(events));
        put(client, stream, "after").join();
        expect("pushed", "after", nextRecord(events));
        client.splitShard(request -> request.streamName(stream).shardToSplit("shardId-000000000000").newStartingHashKey("1000")).join();
        SubscribeToShardEvent last = next(events);
        while (last.continuationSequenceNumber() != null) {
            last = next(events);
        }
        expect("children", 2, last.childShards().size());
        expect("parents", List.of("shardId-000000000000"), last.childShards().get(1).parentShards());
        subscription.get(1, TimeUnit.MINUTES);
    }

    static SubscribeToShardEvent next(LinkedBlockingQueue<SubscribeToShardEvent> events) throws Exception {
        SubscribeToShardEvent event = events.poll(1, TimeUnit.MINUTES);
        expect("an event within a minute", true, event != null);
        return event;
    }

    static String nextRecord(LinkedBlockingQueue<SubscribeToShardEvent> events) throws Exception {
        while (true) {
            SubscribeToShardEvent event = next(events);
            if (event.hasRecords() && !event.records().isEmpty()) {
                expect("records", 1, event.records().size());
                return event.records().get(0).data().asUtf8String();
            }
        }
    }

    static CompletableFuture<PutRecordResponse> put(KinesisAsyncClient client, String stream, String data) {
        return client.putRecord(request -> request.streamName(stream).partitionKey(data).data(SdkBytes.fromUtf8String(data)));
    }

    /**
     * Many puts on one connection, up to 50 at once. The client does not try again. The test looks for RST_STREAM and GOAWAY
     * in the log of the server.
     */
    static void manyPuts(KinesisAsyncClient client, int count) throws Exception {
        String stream = "many";
        client.createStream(request -> request.streamName(stream).shardCount(1)).join();
        Semaphore atOnce = new Semaphore(50);
        AtomicInteger failed = new AtomicInteger();
        Set<String> acknowledged = ConcurrentHashMap.newKeySet();
        List<CompletableFuture<?>> puts = new ArrayList<>();
        int most = 0;
        // The number of the put, the connections and the failed puts, wherever the connections changed.
        List<String> changes = new ArrayList<>();
        int connections = 0;
        for (int number = 0; number < count; number++) {
            atOnce.acquire();
            String data = Integer.toString(number);
            puts.add(put(client, stream, data).whenComplete((answer, failure) -> {
                atOnce.release();
                if (failure == null) {
                    acknowledged.add(answer.sequenceNumber() + " " + data);
                } else if (failed.incrementAndGet() == 1) {
                    failure.printStackTrace();
                }
            }));
            if (number % 100 == 0) {
                int before = connections;
                connections = connections();
                if (number % 1000 == 0) {
                    most = Math.max(most, connections);
                }
                if (connections != before) {
                    changes.add(number + ": " + connections + ", " + failed.get());
                }
            }
        }
        CompletableFuture.allOf(puts.toArray(CompletableFuture[]::new)).exceptionally(failure -> null).join();
        expect("failed puts", 0, failed.get());
        // The other one is that of the client that waits.
        expect("connections are few: " + changes, true, most >= 1 && most <= 2);

        List<String> stored = new ArrayList<>();
        String iterator = client.getShardIterator(request -> request.streamName(stream).shardId("shardId-000000000000")
            .shardIteratorType(ShardIteratorType.TRIM_HORIZON)).join().shardIterator();
        GetRecordsResponse read;
        do {
            String from = iterator;
            read = client.getRecords(request -> request.shardIterator(from)).join();
            read.records().forEach(record -> stored.add(record.sequenceNumber() + " " + record.data().asUtf8String()));
            iterator = read.nextShardIterator();
        } while (!read.records().isEmpty());
        expect("stored once", count, stored.size());
        expect("stored as acknowledged", acknowledged, new HashSet<>(stored));
    }

    /**
     * The established connections of this process to the server. The system's table has those of all processes, so each
     * is looked for among the files of this one.
     */
    static int connections() throws Exception {
        Set<String> sockets = new HashSet<>();
        try (DirectoryStream<Path> files = Files.newDirectoryStream(Path.of("/proc/self/fd"))) {
            for (Path file : files) {
                try {
                    sockets.add(Files.readSymbolicLink(file).toString());
                } catch (NoSuchFileException closedMeanwhile) {
                    // It is no connection any more.
                }
            }
        }
        String port = String.format(":%04X", endpoint.getPort());
        // Once each: the system may list a socket twice while others begin and end.
        Set<String> found = new HashSet<>();
        for (String table : List.of("/proc/self/net/tcp", "/proc/self/net/tcp6")) {
            for (String line : Files.readAllLines(Path.of(table))) {
                String[] fields = line.trim().split("\\s+");
                String socket = "socket:[" + fields[9] + "]";
                boolean isEstablished = fields[2].endsWith(port) && fields[3].equals("01");
                if (isEstablished && sockets.contains(socket)) {
                    found.add(socket);
                }
            }
        }
        return found.size();
    }

    static void expect(String what, Object expected, Object found) {
        if (expected == null ? found != null : !expected.equals(found)) {
            throw new AssertionError(what + ": expected " + expected + ", found " + found);
        }
    }
}
