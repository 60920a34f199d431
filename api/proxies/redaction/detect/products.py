"""Words of the trade and names of products: capitalised, known to no dictionary, and nobody's."""

from __future__ import annotations

from typing import Final

PRODUCTS: Final = frozenset(
    """
    aadhaar iban imei ssn dni vin nhs mrn dob itin pan airflow ajax alembic alpine amd android angular ansible anthropic apache api apis app apple arm array asgi
    asyncio athena async aws azure babel backend bash bert bigquery bing bitbucket bitcoin black blackwell bluetooth
    bool boolean boto bun bytes c cargo cassandra celery centos ceph changelog chatgpt chrome chromium cicd circleci
    clang claude cli clickhouse cmake codex colab compose conda config context contributing cors cosign couchdb cpu
    cpus cron css csv cuda curl cython dask datadog dataclass dataframe debian deepseek default deno dgx dict django
    dns docker dockerfile dom dpo edge eks elasticsearch elastic elixir emacs email engine ember enum env envoy
    epoch erlang error eslint etcd ethernet ethereum excel exception express false fastapi fedora ffmpeg figma file
    firebase firefox flask float flink flutter fortran foundry freebsd ftp func function gateway gcc gcp gemini
    gemma generator git github gitlab gke glm gnu go golang google gpt gpu gpus grace gradle grafana granian graphql
    grpc gunicorn hadoop hadolint haproxy haskell hdfs helm heroku hive homebrew hopper html http https httpx
    huggingface hypothesis ide ids iam imap import index info infiniband influxdb ingress int integer intel intellij
    interface ios ipados iphone ipv4 ipv6 iso iterator java javascript jaeger jenkins jest jetbrains jira jit jpeg
    json jsonl jupyter jwt k8s kafka keras kernel kerberos kibana kimi kotlin kubeadm kubectl kubernetes kubelet
    lambda langchain latex ldap less lib library linux litellm linkedin list llama llm llms localhost logstash lora
    lua luks mac macos makefile mapping mariadb markdown matlab matplotlib maven mcp memcached mellanox mellum
    mercurial messages metal method microsoft mime minikube minio mistral mit mixtral mlflow mlops module mongo
    mongodb mozilla mp3 mp4 mypy mysql nas nats nccl nemo nemotron netbsd netty next nextjs nginx nfs ngc nim node
    nodejs nomad none notion npm npx null numba numpy nvlink nvidia nvme oauth object ocaml ocr odbc okta ollama
    onnx openai openapi openbsd opencl opengl openshift openssh openssl opentelemetry openvino opus oracle os
    outlook pandas parakeet path pdf perl phi php pip pipenv pixtral png podman poetry posix postgres postgresql
    postman powershell pr presidio prometheus promise protobuf proxy ptr pulumi py pycharm pydantic pyinfra pypi
    pyright pytest python pytorch qdrant qt query quic qwen rabbitmq rails ram ray rdma react readme redhat redis
    redshift regex request response rest retry riva rocm router rpc rsa rst ruby ruff runtime rust s3 safari saml
    scala scikit scipy scrapy sdk sdks self selenium sentencepiece sentry server service session setuptools sftp
    sglang sha sha256 shell sharepoint skype slack slurm smtp snowflake socket solr sonarqube spacy spark sparks
    sparkkeep sparkrun spotify spring sql sqlalchemy sqlite sse ssh ssl stack starlette stderr stdin stdout str
    string stripe struct stt sudo supabase svelte svg svn swagger swift symfony syslog systemd tailwind tcp tei
    telnet tensor tensorboard tensorflow tensorrt terraform tfidf thread tls todo token tokenizer toml tomcat torch
    tornado tox traefik transformer transformers trello triton true tts tty tuple twilio type typeerror typer
    typescript ubuntu udp ui uid unicode unix url urls uri usb user utc utf utf-8 uuid uv uvicorn uvloop vagrant
    valkey value valueerror vault vercel verilog vim virtualbox visual vite vllm vlan vmware vnc voxtral vpc vpn
    vscode vue wasm webassembly webhook weblogic websocket websockets whatsapp whisper widget wifi wiki wikipedia
    windows wireguard wireshark wordpress worker wsgi wsl www x86 xcode xen xfs xml xpath yaml yarn yml youtube zlib
    zookeeper zoom zstd netflix amazon facebook instagram twitter tiktok telegram paypal tesla added changed fixed
    removed deprecated security unreleased usage install installation example examples note notes warning tip tips
    todo see also returns raises args arguments parameters attributes yields references optional required monday
    tuesday wednesday thursday friday saturday sunday january february march april may june july august september
    october november december
    """.split()
)
