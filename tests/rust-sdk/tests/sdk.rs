#[tokio::test]
async fn x() {}
