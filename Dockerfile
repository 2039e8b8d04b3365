# The operator's image. Base and toolchain are arguments, so that you can take
# them from wherever you get your images:
#   docker build --build-arg BASE_IMAGE=... --build-arg VERSION=v1.0.0 .
ARG GO_IMAGE=golang:1.26
ARG BASE_IMAGE=distroless/static:nonroot

FROM --platform=$BUILDPLATFORM ${GO_IMAGE} AS build
WORKDIR /src
COPY . .
ARG TARGETOS TARGETARCH
ARG VERSION=dev
RUN --mount=type=cache,target=/go/pkg/mod --mount=type=cache,target=/root/.cache/go-build \
    CGO_ENABLED=0 GOOS=${TARGETOS} GOARCH=${TARGETARCH} \
    go build -trimpath -buildvcs=false -ldflags "-s -w -X main.version=${VERSION}" -o /access-broker ./cmd/access-broker

# No shell, and no writes to disk: the root file system may be read-only.
FROM ${BASE_IMAGE}
COPY --from=build /access-broker /access-broker
USER 65532:65532
ENTRYPOINT ["/access-broker"]
