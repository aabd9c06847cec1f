import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.time.Duration;
import java.util.Comparator;
import org.neo4j.configuration.GraphDatabaseSettings;
import org.neo4j.configuration.connectors.BoltConnector;
import org.neo4j.configuration.connectors.ConnectorPortRegister;
import org.neo4j.configuration.connectors.ConnectorType;
import org.neo4j.configuration.helpers.SocketAddress;
import org.neo4j.dbms.api.DatabaseManagementService;
import org.neo4j.dbms.api.DatabaseManagementServiceBuilder;
import org.neo4j.io.ByteUnit;
import org.neo4j.kernel.internal.GraphDatabaseAPI;

/** A Neo4j Community on loopback for tests: DATA_FOLDER PORT (0: any) PARENT_PID. Writes its port to DATA_FOLDER/port; ends with its parent. */
public final class Neo4jServer {
    public static void main(String[] args) throws Exception {
        Path data = Path.of(args[0]);
        DatabaseManagementService service = new DatabaseManagementServiceBuilder(data)
                .setConfig(BoltConnector.enabled, true)
                .setConfig(BoltConnector.listen_address, new SocketAddress("127.0.0.1", Integer.parseInt(args[1])))
                .setConfig(GraphDatabaseSettings.pagecache_memory, ByteUnit.mebiBytes(64))
                .setConfig(GraphDatabaseSettings.preallocate_logical_logs, false)
                .setConfig(GraphDatabaseSettings.logical_log_rotation_threshold, ByteUnit.mebiBytes(32))
                .setConfig(GraphDatabaseSettings.check_point_interval_time, Duration.ofMinutes(1))
                .build();
        GraphDatabaseAPI database = (GraphDatabaseAPI) service.database("neo4j");
        int port = database.getDependencyResolver().resolveDependency(ConnectorPortRegister.class)
                .getLocalAddress(ConnectorType.BOLT).getPort();
        Path half = data.resolve("port.half");
        Files.writeString(half, Integer.toString(port));
        Files.move(half, data.resolve("port"), StandardCopyOption.ATOMIC_MOVE);
        ProcessHandle.of(Long.parseLong(args[2])).ifPresent(parent -> parent.onExit().join());
        try (var files = Files.walk(data)) {
            files.sorted(Comparator.reverseOrder()).forEach(Neo4jServer::delete);
        } catch (IOException gone) {
            // The data are thrown away: what cannot be deleted is left to the temporary folder.
        }
        Runtime.getRuntime().halt(0);
    }

    private static void delete(Path file) {
        try {
            Files.delete(file);
        } catch (IOException kept) {
            // See above.
        }
    }
}
