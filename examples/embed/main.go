// Command embed is a small shop with Culvert inside, on the same server and port, with the shop's own
// sessions and pool of connections to Postgres. README.md says how to try it.
package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/culvertmq/culvert/api"
	"github.com/culvertmq/culvert/event"
	"github.com/culvertmq/culvert/migrations"
	"github.com/culvertmq/culvert/queue"
)

func main() {
	listen := flag.String("listen", "127.0.0.1:8090", "address of the shop")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *listen, os.Getenv("DATABASE_URL")); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, listen, databaseURL string) error {
	// The shop's pool, and its tables.
	pool, err := pgxpool.New(ctx, databaseURL)
	if err != nil {
		return err
	}
	defer pool.Close()
	if _, err := pool.Exec(ctx, `CREATE TABLE IF NOT EXISTS orders (id bigserial PRIMARY KEY, item text, client text)`); err != nil {
		return err
	}

	// Culvert connects as the pool does, but with its own connections: at most 10, see queue.Options.MaxConns.
	if err := migrations.Up(ctx, databaseURL); err != nil {
		return err
	}
	q, err := queue.Open(ctx, queue.Options{Pool: pool})
	if err != nil {
		return err
	}
	s := &shop{pool: pool, queue: q, sessions: map[string]session{}}
	culvert, err := api.New(q, api.Options{Authenticate: s.authenticate})
	if err != nil {
		return err
	}

	mux := http.NewServeMux()
	mux.Handle("/v1/", culvert)
	mux.HandleFunc("POST /login", s.login)
	mux.HandleFunc("POST /logout", s.logout)
	mux.HandleFunc("POST /orders", s.order)
	// Browsers also send cookies with requests from pages of other sites: such requests are refused.
	server := &http.Server{ReadHeaderTimeout: 5 * time.Second, Handler: http.NewCrossOriginProtection().Handler(mux)}
	culvert.ConfigureServer(server) // the timeouts that streams need
	listener, err := net.Listen("tcp", listen)
	if err != nil {
		return err
	}
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(culvert.Listener(listener)) }()
	fmt.Println("ready on", listen)
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}

	// Shutdown: streams end, requests under way are answered, then Culvert and the pool close.
	last, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	culvert.Drain()
	err = errors.Join(culvert.Wait(last), server.Shutdown(last))
	culvert.Close()
	return errors.Join(err, q.Close(last))
}

type shop struct {
	pool  *pgxpool.Pool
	queue *queue.Queue

	mu       sync.Mutex
	sessions map[string]session // by the value of the cookie
}

type session struct {
	client         event.Client
	began, expires time.Time
}

// authenticate is called by Culvert for each request: it says who the caller is, and what the caller may do.
func (s *shop) authenticate(r *http.Request) (api.Caller, error) {
	session, ok := s.session(r)
	if !ok {
		return api.Caller{}, fmt.Errorf("%w: log in first", api.ErrUnauthorized)
	}
	return api.Caller{
		Client:  session.client,
		Rooms:   []string{"offers"}, // it may join and read this room, in addition to its own and "*"
		Issued:  session.began,      // so that logout can end its streams
		Expires: session.expires,    // when its streams end
	}, nil
}

func (s *shop) session(r *http.Request) (session, bool) {
	cookie, err := r.Cookie("session")
	if err != nil {
		return session{}, false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	found, ok := s.sessions[cookie.Value]
	return found, ok && time.Now().Before(found.expires)
}

func (s *shop) login(w http.ResponseWriter, r *http.Request) {
	client, err := event.ParseClient(r.FormValue("name")) // a real shop also asks for a password
	if err != nil {
		http.Error(w, err.Error(), http.StatusUnprocessableEntity)
		return
	}
	value, now := rand.Text(), time.Now()
	s.mu.Lock()
	s.sessions[value] = session{client, now, now.Add(time.Hour)}
	s.mu.Unlock()
	http.SetCookie(w, &http.Cookie{ //nolint:gosec // Secure if there is TLS, which a real shop should have
		Name: "session", Value: value, Path: "/", HttpOnly: true, Secure: r.TLS != nil, SameSite: http.SameSiteLaxMode,
	})
	fmt.Fprintln(w, "hello")
}

// logout ends the session, and the client's streams on every instance.
func (s *shop) logout(w http.ResponseWriter, r *http.Request) {
	session, ok := s.session(r)
	if !ok {
		http.Error(w, "not logged in", http.StatusUnauthorized)
		return
	}
	if err := s.queue.Registry().Revoke(r.Context(), event.MustNamespace("default"), session.client); err != nil {
		http.Error(w, "try again", http.StatusServiceUnavailable)
		return
	}
	cookie, _ := r.Cookie("session") // the middleware has checked that it exists
	s.mu.Lock()
	delete(s.sessions, cookie.Value)
	s.mu.Unlock()
	fmt.Fprintln(w, "bye")
}

// order stores the order and the event about it in one transaction.
func (s *shop) order(w http.ResponseWriter, r *http.Request) {
	session, ok := s.session(r)
	if !ok {
		http.Error(w, "log in first", http.StatusUnauthorized)
		return
	}
	item := r.FormValue("item")
	err := pgx.BeginFunc(r.Context(), s.pool, func(tx pgx.Tx) error {
		var id int64
		err := tx.QueryRow(r.Context(), `INSERT INTO orders (item, client) VALUES ($1, $2) RETURNING id`, item, session.client.String()).Scan(&id)
		if err != nil {
			return err
		}
		body, err := json.Marshal(map[string]any{"id": id, "item": item})
		if err != nil {
			return err
		}
		data, err := event.ParseData(body)
		if err != nil {
			return err
		}
		_, err = queue.EmitTx(r.Context(), tx, event.Emit{
			Namespace: event.MustNamespace("default"), Rooms: []event.Room{session.client.OwnRoom()},
			Event: event.MustEventName("order placed"), Data: data,
		})
		return err
	})
	if err != nil {
		log.Print("order: ", err)
		http.Error(w, "try again", http.StatusServiceUnavailable)
		return
	}
	fmt.Fprintln(w, "thank you")
}
