# The image contains only one static program: no shell, no package
# manager, and no Postgres. Name a Postgres with DATABASE_URL (or DATABASE_URL_FILE).
#
#   docker build -t culvert --build-arg VERSION=v1.2.3 .
#   docker run -p 8080:8080 -e DATABASE_URL=… -e CULVERT_API_KEYS=… culvert

# The build runs on the builder's own architecture and cross-compiles, which is much
# faster than emulating the target.
FROM --platform=$BUILDPLATFORM golang:1.26 AS build
WORKDIR /src

# Dependencies change less often than code, so they have a layer of their own that stays cached.
COPY go.mod go.sum ./
RUN go mod download

COPY . .
ARG TARGETOS
ARG TARGETARCH
ARG VERSION=
# Without cgo the program needs no C library, so the image needs none. -trimpath
# keeps the builder's folders out of it; -s -w leave out what only debuggers read.
RUN CGO_ENABLED=0 GOOS=$TARGETOS GOARCH=$TARGETARCH go build -trimpath \
    -ldflags "-s -w -X github.com/culvertmq/culvert/cmd.version=$VERSION" \
    -o /culvert .

# static: certificates, time zones and a user, for programs without a C library.
FROM gcr.io/distroless/static-debian12:nonroot
COPY --from=build /culvert /culvert

# A container is reached from outside, so it listens on all interfaces; platforms
# that choose the port (Cloud Run, Heroku) overwrite PORT. Metrics stay on the
# container's own loopback unless CULVERT_ADMIN_LISTEN says otherwise.
ENV PORT=8080
EXPOSE 8080

# By number, so that an orchestrator can see that it is not root (runAsNonRoot).
USER 65532:65532

# The image has no curl, so the program checks itself, on the port where it listens.
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 \
    CMD ["/culvert", "healthcheck"]

ENTRYPOINT ["/culvert"]
CMD ["serve"]
